//! Several questions with one DNS id, waiting at the same time on one socket.
//! The client tells the answers apart by their question; dnsprobe follows the
//! last query only, and must count the others neither as lost nor as answered.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::Report;
use crate::client::query::Args;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, SECOND_DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "same-id",
    about: "several queries with one id on one socket, waiting at the same time",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const QUERIES: u16 = 3;
/// Long enough for all queries to wait together.
const DELAY: Duration = Duration::from_millis(100);

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_1], Balance::Random)
        .load(stage.node)?;
    server::set_delay(stage.pod(&COREDNS_1)?, server::TO_PODS, DELAY)?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let queries = Args {
        same_id: Some(7),
        distinct_names: true,
        burst: true,
        ..Args::new(SECOND_DNS, QUERIES)
    };
    let report = stage.programs.query(stage.pod(&VICTIM)?, &queries)?.report()?;
    ensure!(report.answered == u64::from(QUERIES), "the lab is broken: queries were lost");
    let followed = Report {
        sent: report.sent,
        answered: 1,
        rcodes: report.rcodes.into_keys().map(|rcode| (rcode, 1)).collect(),
        ..Report::default()
    };

    let mut expectation = Expectation::default();
    expectation.abandons(&VICTIM.label(), &followed)?;
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    Ok(Outcome::new(expectation, watch.finish()?))
}
