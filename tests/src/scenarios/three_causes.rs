//! Three pods lose queries for three reasons at once: a rule drops them, the
//! source port they are translated to is taken, nothing listens where they
//! lead. Each gets its own cause, and nobody else's.

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{
    API, CART, COREDNS_0, COREDNS_1, COREDNS_GONE, DNS, SECOND_DNS, VICTIM, WORKER,
};
use crate::lab::conntrack::Counters;
use crate::lab::firewall::{Balance, Rules};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "three-causes",
    about: "three pods fail at the same time for three different reasons",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const QUERIES: u16 = 6;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let (dropped, clashing) = (WORKER.address(), VICTIM.address());
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_GONE], Balance::Random)
        .rule("filter", format!("-A FORWARD -s {dropped} -p udp --dport 53 -j DROP"))
        .rule(
            "nat",
            format!(
                "-A POSTROUTING -s {clashing} -p udp --dport 53 -j SNAT --to-source 192.0.2.10:40001"
            ),
        )
        .load(stage.node)?;
    let watch = stage.top()?;
    let before = Counters::read(stage.node)?;
    let healthy = stage.healthy_pod(DNS)?;
    let to = |service| query::Args {
        fresh_port: true,
        timeout_ms: 200,
        ..query::Args::new(service, QUERIES)
    };
    let cast = [
        (VICTIM, COREDNS_0.address(), "conntrack-clash"),
        (WORKER, DNS, "policy-drop"),
        (API, SECOND_DNS, "no-listener"),
    ];
    let clients = cast
        .iter()
        .map(|(spec, service, _)| stage.programs.query(stage.pod(spec)?, &to(*service)))
        .collect::<Result<Vec<_>>>()?;

    let mut expectation = Expectation::default();
    let mut clashes = 0;
    for ((spec, _, cause), client) in cast.iter().zip(clients) {
        let report = client.report()?;
        if spec.number == VICTIM.number {
            clashes = report.lost();
        }
        expectation.loses(&spec.label(), &report, cause)?;
    }
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    let counted = Counters::read(stage.node)?.since(&before);
    Ok(Outcome::new(expectation, watch.finish()?).also(same(
        "insert_failed and the losses of the pod that clashes",
        counted.insert_failed,
        clashes,
    )))
}
