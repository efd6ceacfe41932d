//! `ipvs-port-conflict`: two pods ask one IPVS service from the same source port
//! and are masqueraded to one address, so that both flows want the same reply
//! tuple from the same real server. Both wait between the choice of a source
//! port and confirm, and the second cannot be inserted.

use anyhow::{Result, ensure};

use super::evidence::{Collision, clash_problems};
use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::{Report, query};
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, IPVS_CLIENT, IPVS_DNS, VICTIM};
use crate::lab::conntrack::Counters;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::spec::Spec;
use crate::lab::{hold, ipvs};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "ipvs-port-conflict",
    about: "two pods with one source port, masqueraded to one real server: one query is dropped",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const QUEUE: u16 = 7;
const ROUNDS: u16 = 4;
const FIRST_PORT: u16 = 7800;
const CLIENTS: [Spec; 2] = [IPVS_CLIENT, VICTIM];

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .rule("nat", format!("-A PREROUTING -d {IPVS_DNS} -j MARK --set-mark 0x4000"))
        .load(stage.node)?;
    ipvs::service(stage.node, IPVS_DNS, &[COREDNS_0])?;
    hold::after_source_nat(stage.node, COREDNS_0.address(), 0x4000, QUEUE)?;
    let _hold = stage.programs.hold(&hold::Args { queue: QUEUE, count: 2 })?;
    let watch = stage.top()?;
    let before = Counters::read(stage.node)?;
    let healthy = stage.healthy_pod(DNS)?;
    let mut reports = vec![(CLIENTS[0], Vec::new()), (CLIENTS[1], Vec::new())];
    for round in 0..ROUNDS {
        let queries = query::Args {
            source_port: FIRST_PORT + round,
            timeout_ms: 300,
            ..query::Args::new(IPVS_DNS, 1)
        };
        let clients = CLIENTS
            .iter()
            .map(|spec| stage.programs.query(stage.pod(spec)?, &queries))
            .collect::<Result<Vec<_>>>()?;
        for ((_, reports), client) in reports.iter_mut().zip(clients) {
            reports.push(client.report()?);
        }
    }
    let counted = Counters::read(stage.node)?.since(&before);

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    let mut lost = 0;
    for (spec, reports) in reports {
        for report in reports {
            lost += report.lost();
            count(&mut expectation, &spec, &report)?;
        }
    }
    ensure!(lost > 0, "the fault did not happen: every query was answered");
    let observed = watch.finish()?;
    let problems = clash_problems(&observed, "ipvs-port-conflict", Collision::Reply, false);
    Ok(Outcome::new(expectation, observed)
        .also(problems)
        .also(same("insert_failed and the clients' losses", counted.insert_failed, lost))
        .also(same("one of each two is lost", lost, ROUNDS.into())))
}

/// Which of the two loses is settled by who comes first.
fn count(expectation: &mut Expectation, spec: &Spec, report: &Report) -> Result<()> {
    if report.lost() > 0 {
        expectation.loses(&spec.label(), report, "ipvs-port-conflict")
    } else {
        expectation.healthy(&spec.label(), report)
    }
}
