//! `conntrack-clash-late-answer`: the resolved race with a slow server. The
//! kernel keeps the loser's entry for one second; an answer after 1.2 s finds
//! no translation, arrives with the backend's own address, and the resolver
//! throws it away.

use std::time::Duration;

use anyhow::Result;

use super::conntrack_clash_resolved::{SERVERS, rules};
use super::evidence::{Collision, clash_problems};
use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::pair;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, DNS, FRONTEND};
use crate::lab::conntrack::Counters;
use crate::lab::dnsprobe::Mode;
use crate::lab::{bridge, server};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "conntrack-clash-late-answer",
    about: "the resolved race with answers after 1.2 s: the loser's answer is not translated back",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PAIRS: u16 = 5;
const SLOW: Duration = Duration::from_millis(1200);
/// The slow answer, and time for the lab to see all queries waiting.
const LOST_AFTER: Duration = Duration::from_secs(5);

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let frontend = stage.pod(&FRONTEND)?;
    rules().load(stage.node)?;
    for server in &SERVERS {
        server::set_delay(stage.pod(server)?, server::TO_BRIDGE, SLOW)?;
    }
    let watch = stage.watch(Mode::Top, LOST_AFTER)?;
    let before = Counters::read(stage.node)?;
    let healthy = stage.healthy_pod(DNS)?;

    bridge::forget_neighbours(stage.node, &SERVERS)?;
    let pairs = pair::Args { pairs: PAIRS, timeout_ms: 4500, ..pair::Args::new(DNS) };
    let pairs = stage.programs.pair(frontend, &pairs)?;
    bridge::wait_for_translated(stage.node, 2 * u64::from(PAIRS))?;
    bridge::learn_neighbours(stage.node, &SERVERS)?;
    let report = pairs.report()?;
    let counted = Counters::read(stage.node)?.since(&before);

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    // Each race counts as resolved when it happens, whatever comes of it.
    expectation.near_misses(&FRONTEND.label(), "conntrack-clash-resolved", PAIRS.into());
    expectation.loses(&FRONTEND.label(), &report, "conntrack-clash-late-answer")?;
    let observed = watch.finish()?;
    let problems =
        clash_problems(&observed, "conntrack-clash-late-answer", Collision::Original, true);
    Ok(Outcome::new(expectation, observed)
        .also(problems)
        .also(same("alien answers and the client's losses", report.alien, report.lost()))
        .also(same("clash_resolve and the client's losses", counted.clash_resolve, report.lost()))
        .also(same("one of each pair is lost", report.lost(), PAIRS.into())))
}
