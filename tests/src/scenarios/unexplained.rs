//! `unexplained`: a server that takes every query and says nothing. The kernel
//! did all it should, so dnsprobe must not blame it, nor anybody else.

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, COREDNS_DEAF, DNS, SECOND_DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "unexplained",
    about: "a server takes the queries and never answers: no cause in the kernel",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_DEAF], Balance::Random)
        .load(stage.node)?;
    let deaf = server::Options { local_only: true, ..Default::default() };
    let _deaf = server::start(stage.pod(&COREDNS_DEAF)?, &deaf)?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let queries = query::Args { timeout_ms: 150, ..query::Args::new(SECOND_DNS, 5) };
    let report = stage.programs.query(stage.pod(&VICTIM)?, &queries)?.report()?;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.loses(&VICTIM.label(), &report, "unexplained")?;
    Ok(Outcome::new(expectation, watch.finish()?))
}
