//! `conntrack-clash` as it happens to Alpine images: musl's own resolver with
//! two nameservers sends A and AAAA to both at once from one socket, and both
//! service addresses lead to one backend. All four queries wait together; what
//! was sent to the second address cannot be inserted. The look-up succeeds, so
//! nobody notices until the first address fails.

use std::time::Duration;

use anyhow::Result;

use super::evidence::{Collision, clash_problems};
use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::Report;
use crate::client::resolver::Resolver;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, DNS, SECOND_DNS, TWO_NAMESERVERS};
use crate::lab::clients::{Lookup, Pace};
use crate::lab::conntrack::Counters;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::hold;
use crate::lab::kernel::merges_after_queue;
use crate::lab::server::NAME;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "conntrack-clash-musl",
    about: "musl's resolver with two nameservers: what it asks the second is dropped",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const QUEUE: u16 = 7;
const LOOKUPS: u32 = 3;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let victim = stage.pod(&TWO_NAMESERVERS)?;
    Rules::default()
        .service(DNS, &[COREDNS_0], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_0], Balance::Random)
        .rule("nat", hold::rule(&victim.spec().address().to_string(), QUEUE))
        .load(stage.node)?;
    let _hold = stage.programs.hold(&hold::Args { queue: QUEUE, count: 4 })?;
    let watch = stage.top()?;
    let before = Counters::read(stage.node)?;
    let healthy = stage.healthy_pod(DNS)?;
    let lookup = Lookup {
        name: NAME,
        count: LOOKUPS,
        pace: Pace::Every(Duration::from_millis(50)),
        options: None,
    };
    let asked = stage.programs.resolve(victim, Resolver::Musl, 2, lookup)?.report()?;
    let counted = Counters::read(stage.node)?.since(&before);

    // musl does not say which of its queries were answered. Both to the second
    // address collide with the first one to the first address.
    let lookups = u64::from(LOOKUPS);
    let report = Report { answered: asked.sent - 2 * lookups, ..asked };
    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.loses(&TWO_NAMESERVERS.label(), &report, "conntrack-clash")?;
    if merges_after_queue(stage.kernel) {
        // AAAA to the first address finds A's entry confirmed.
        expectation.near_misses(&TWO_NAMESERVERS.label(), "conntrack-clash-resolved", lookups);
    }
    let observed = watch.finish()?;
    let problems = clash_problems(&observed, "conntrack-clash", Collision::Reply, true);
    Ok(Outcome::new(expectation, observed).also(problems).also(same(
        "insert_failed and the losses",
        counted.insert_failed,
        report.lost(),
    )))
}
