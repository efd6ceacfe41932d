//! `late-answer`: the client gives up after 20 ms and closes its socket; the
//! server's answer comes 100 ms after the question and finds nobody.

use std::time::Duration;

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, SECOND_DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "late-answer",
    about: "the answer comes after the client has closed its socket",
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
    let queries =
        query::Args { fresh_port: true, timeout_ms: 20, ..query::Args::new(SECOND_DNS, 5) };
    let report = stage.programs.query(stage.pod(&VICTIM)?, &queries)?.report()?;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.loses(&VICTIM.label(), &report, "late-answer")?;
    Ok(Outcome::new(expectation, watch.finish()?))
}
