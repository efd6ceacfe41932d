//! `ipvs-port-conflict`: two flows with one source port meet on one real server
//! through two virtual addresses, so that their reply tuples are the same and
//! the second cannot be inserted. Both wait in nat POSTROUTING, where returning
//! from a queue skips the choice of another source port.

use anyhow::Result;

use super::evidence::{Collision, clash_problems};
use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::pair;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, IPVS_CLIENT, IPVS_DNS, SECOND_IPVS_DNS};
use crate::lab::conntrack::Counters;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::{hold, ipvs};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "ipvs-port-conflict",
    about: "one source port reaches one real server through two virtual addresses at once",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const QUEUE: u16 = 7;
const PAIRS: u16 = 5;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let client = stage.pod(&IPVS_CLIENT)?;
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .rule("nat", hold::rule(&client.spec().address().to_string(), QUEUE))
        .load(stage.node)?;
    ipvs::service(stage.node, IPVS_DNS, &[COREDNS_0])?;
    ipvs::service(stage.node, SECOND_IPVS_DNS, &[COREDNS_0])?;
    let _hold = stage.programs.hold(&hold::Args { queue: QUEUE, count: 2 })?;
    let watch = stage.top()?;
    let before = Counters::read(stage.node)?;
    let healthy = stage.healthy_pod(DNS)?;
    let pairs = pair::Args {
        second_server: Some(SECOND_IPVS_DNS.into()),
        pairs: PAIRS,
        ..pair::Args::new(IPVS_DNS)
    };
    let report = stage.programs.pair(client, &pairs)?.report()?;
    let counted = Counters::read(stage.node)?.since(&before);

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.loses(&IPVS_CLIENT.label(), &report, "ipvs-port-conflict")?;
    let observed = watch.finish()?;
    let problems = clash_problems(&observed, "ipvs-port-conflict", Collision::Reply, true);
    Ok(Outcome::new(expectation, observed)
        .also(problems)
        .also(same("insert_failed and the client's losses", counted.insert_failed, report.lost()))
        .also(same("one of each pair is lost", report.lost(), PAIRS.into())))
}
