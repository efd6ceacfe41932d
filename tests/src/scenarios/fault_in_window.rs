//! A fault that starts and stops while dnsprobe watches: a rule drops a pod's
//! queries for a while. What was asked before and after is answered, and only
//! what was asked meanwhile is lost.

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::switch::Switch;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "fault-in-window",
    about: "a dropping rule comes and goes: only the queries in between are lost",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const QUERIES: u16 = 60;
const BEFORE: u64 = 5;
const DROPPED: u64 = 4;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    let switch = Switch::new(stage.node, &VICTIM)?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let queries =
        query::Args { interval_ms: 20, timeout_ms: 200, ..query::Args::new(DNS, QUERIES) };
    let client = stage.programs.query(stage.pod(&VICTIM)?, &queries)?;
    switch.wait_for_passed(BEFORE)?;
    switch.on()?;
    switch.wait_for_dropped(DROPPED)?;
    switch.off()?;
    let report = client.report()?;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.loses(&VICTIM.label(), &report, "policy-drop")?;
    let first = report.unanswered.iter().map(|query| query.id).min().unwrap_or_default();
    let last = report.unanswered.iter().map(|query| query.id).max().unwrap_or_default();
    let outside = (first == 0 || last == QUERIES - 1).then(|| {
        format!("queries {first} to {last} of {QUERIES} were lost: not inside the window")
    });
    let gaps = (u64::from(last - first) + 1 != report.lost())
        .then(|| format!("{} losses between queries {first} and {last}", report.lost()));
    Ok(Outcome::new(expectation, watch.finish()?).also(outside).also(gaps))
}
