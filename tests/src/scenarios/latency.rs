//! p50 and p99 are what the client itself measured, against servers that take
//! 20 ms. On an ordinary emulated processor both ends wait for their turn at
//! other moments; so this one wants a clock that counts instructions.

use std::time::Duration;

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "latency",
    about: "p50 and p99 are within 5 % of what the client measured against 20 ms servers",
    kernels: Kernels::All,
    exact_clock: true,
    run,
};

const DELAY: Duration = Duration::from_millis(20);

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let servers = [COREDNS_0, COREDNS_1];
    Rules::default().service(DNS, &servers, Balance::Random).load(stage.node)?;
    for server in &servers {
        server::set_delay(stage.pod(server)?, server::TO_PODS, DELAY)?;
    }
    let watch = stage.top()?;
    let queries = query::Args { fresh_port: true, ..query::Args::new(DNS, 200) };
    let report = stage.programs.query(stage.pod(&CART)?, &queries)?.report()?;

    let mut expectation = Expectation::default();
    expectation.healthy_with_latency(&CART.label(), &report)?;
    Ok(Outcome::new(expectation, watch.finish()?))
}
