//! `conntrack-clash`: one socket asks two service addresses that lead to one
//! backend, as musl's resolver does with two nameservers. Both queries wait in
//! nat POSTROUTING, where returning from a queue skips the choice of another
//! source port, so their reply tuples are the same and the second cannot be
//! inserted. Certain on every kernel.

use anyhow::Result;

use super::evidence::{Collision, clash_problems};
use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::pair;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, DNS, SECOND_DNS, VICTIM};
use crate::lab::conntrack::Counters;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::hold;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "conntrack-clash",
    about: "one socket, two service addresses, one backend: the second query is dropped at confirm",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const QUEUE: u16 = 7;
const PAIRS: u16 = 5;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let victim = stage.pod(&VICTIM)?;
    Rules::default()
        .service(DNS, &[COREDNS_0], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_0], Balance::Random)
        .rule("nat", hold::rule(&victim.spec().address().to_string(), QUEUE))
        .load(stage.node)?;
    let _hold = stage.programs.hold(&hold::Args { queue: QUEUE, count: 2 })?;
    let watch = stage.top()?;
    let before = Counters::read(stage.node)?;
    let healthy = stage.healthy_pod(DNS)?;
    let pairs =
        pair::Args { second_server: Some(SECOND_DNS.into()), pairs: PAIRS, ..pair::Args::new(DNS) };
    let report = stage.programs.pair(victim, &pairs)?.report()?;
    let counted = Counters::read(stage.node)?.since(&before);

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.loses(&VICTIM.label(), &report, "conntrack-clash")?;
    let observed = watch.finish()?;
    let problems = clash_problems(&observed, "conntrack-clash", Collision::Reply, true);
    Ok(Outcome::new(expectation, observed)
        .also(problems)
        .also(same("insert_failed and the client's losses", counted.insert_failed, report.lost()))
        .also(same("one of each pair is lost", report.lost(), PAIRS.into())))
}
