//! Queries that share address, port and DNS id while they wait. Different
//! questions are different queries, each with its answer. The same question
//! again is the same query sent again: both are answered here, for the server
//! saw both.

use std::time::Duration;

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::query::Args;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, SECOND_DNS, VICTIM, WORKER};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "same-id",
    about: "several queries with one id on one socket, waiting at the same time",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const DELAY: Duration = Duration::from_millis(100);

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_1], Balance::Random)
        .load(stage.node)?;
    server::set_delay(stage.pod(&COREDNS_1)?, server::TO_PODS, DELAY)?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let again = Args { same_id: Some(7), burst: true, ..Args::new(SECOND_DNS, 3) };
    let others = Args { distinct_names: true, ..again.clone() };
    let again = stage.programs.query(stage.pod(&VICTIM)?, &again)?;
    let others = stage.programs.query(stage.pod(&WORKER)?, &others)?;

    let mut expectation = Expectation::default();
    expectation.healthy(&VICTIM.label(), &again.report()?)?;
    expectation.healthy(&WORKER.label(), &others.report()?)?;
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    Ok(Outcome::new(expectation, watch.finish()?))
}
