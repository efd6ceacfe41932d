//! `conntrack-clash-resolved`: the textbook race, A and AAAA at once from one
//! socket to one service address, translated to two backends. Every supported
//! kernel resolves it: a near miss, no loss. Once with our own pairs, once with
//! glibc's getaddrinfo.

use std::time::Duration;

use anyhow::Result;

use super::evidence::{Collision, clash_problems};
use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::pair;
use crate::client::resolver::Resolver;
use crate::expectation::Expectation;
use crate::lab::bridge;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, FRONTEND};
use crate::lab::clients::{Lookup, Pace};
use crate::lab::conntrack::Counters;
use crate::lab::dnsprobe::Mode;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::NAME;
use crate::lab::spec::Spec;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "conntrack-clash-resolved",
    about: "A and AAAA race to one service address: the kernel resolves it, nothing is lost",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PAIRS: u16 = 5;
/// The queries wait until the lab has seen them all; a busy machine takes its
/// time for that.
const LOST_AFTER: Duration = Duration::from_secs(4);
const LOOKUPS: u32 = 3;
pub(super) const SERVERS: [Spec; 2] = [COREDNS_0, COREDNS_1];

/// The service takes the servers in turn for the pods on the bridge, so that
/// a pair's two queries always part.
pub(super) fn rules() -> Rules {
    Rules::default().bridge_service(DNS, &SERVERS, Balance::InTurn).service(
        DNS,
        &SERVERS,
        Balance::Random,
    )
}

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let frontend = stage.pod(&FRONTEND)?;
    rules().load(stage.node)?;
    let watch = stage.watch(Mode::Top, LOST_AFTER)?;
    let before = Counters::read(stage.node)?;
    let healthy = stage.healthy_pod(DNS)?;

    bridge::forget_neighbours(stage.node, &SERVERS)?;
    let pairs = pair::Args { pairs: PAIRS, timeout_ms: 3500, ..pair::Args::new(DNS) };
    let pairs = stage.programs.pair(frontend, &pairs)?;
    let mut translated = 2 * u64::from(PAIRS);
    bridge::wait_for_translated(stage.node, translated)?;
    bridge::learn_neighbours(stage.node, &SERVERS)?;
    let pairs = pairs.report()?;

    let lookup = Lookup { name: NAME, count: LOOKUPS, pace: Pace::OnRequest, options: None };
    let mut glibc = stage.programs.resolve(frontend, Resolver::Glibc, 1, lookup)?;
    for _ in 0..LOOKUPS {
        bridge::forget_neighbours(stage.node, &SERVERS)?;
        glibc.request()?;
        translated += 2;
        bridge::wait_for_translated(stage.node, translated)?;
        bridge::learn_neighbours(stage.node, &SERVERS)?;
    }
    let glibc = glibc.report()?;
    let counted = Counters::read(stage.node)?.since(&before);

    let races = u64::from(PAIRS) + u64::from(LOOKUPS);
    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.healthy(&FRONTEND.label(), &pairs)?;
    expectation.healthy(&FRONTEND.label(), &glibc)?;
    expectation.near_misses(&FRONTEND.label(), "conntrack-clash-resolved", races);
    let observed = watch.finish()?;
    let mut problems =
        clash_problems(&observed, "conntrack-clash-resolved", Collision::Original, true);
    for verdict in observed.verdicts.iter().filter(|verdict| verdict.pair != Some(true)) {
        problems.push(format!("not called an A/AAAA pair: {}", verdict.summary));
    }
    Ok(Outcome::new(expectation, observed).also(problems).also(same(
        "clash_resolve and the races",
        counted.clash_resolve,
        races,
    )))
}
