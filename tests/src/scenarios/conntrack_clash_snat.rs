//! `conntrack-clash` by source translation to a single port: every flow but
//! the first wants the same reply tuple. No race and no queue: the drop happens
//! in the ordinary path of the packet.

use anyhow::Result;

use super::evidence::{Collision, clash_problems};
use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, DNS, VICTIM};
use crate::lab::conntrack::Counters;
use crate::lab::firewall::{Balance, Rules};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "conntrack-clash-snat",
    about: "source translation to one port: every flow but the first is dropped at confirm",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let victim = stage.pod(&VICTIM)?;
    Rules::default()
        .service(DNS, &[COREDNS_0], Balance::Random)
        .rule(
            "nat",
            format!(
                "-A POSTROUTING -s {} -p udp --dport 53 -j SNAT --to-source 192.0.2.10:40000",
                victim.spec().address()
            ),
        )
        .load(stage.node)?;
    let watch = stage.top()?;
    let before = Counters::read(stage.node)?;
    let healthy = stage.healthy_pod(DNS)?;
    let queries = query::Args { fresh_port: true, timeout_ms: 200, ..query::Args::new(DNS, 5) };
    let report = stage.programs.query(victim, &queries)?.report()?;
    let counted = Counters::read(stage.node)?.since(&before);

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.loses(&VICTIM.label(), &report, "conntrack-clash")?;
    let observed = watch.finish()?;
    // The winner was answered long ago: nobody has to remember its query.
    let problems = clash_problems(&observed, "conntrack-clash", Collision::Reply, false);
    Ok(Outcome::new(expectation, observed).also(problems).also(same(
        "insert_failed and the client's losses",
        counted.insert_failed,
        report.lost(),
    )))
}
