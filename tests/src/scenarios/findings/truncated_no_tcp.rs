//! `truncated-no-tcp`: the answer is cut short and the client, which speaks UDP
//! only as musl did for long, leaves it at that.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::{Outcome, Scenario, Stage, compare, count, scenario};
use crate::client::query;
use crate::lab::cast::{COREDNS_0, COREDNS_1, COREDNS_GONE, DNS, SECOND_DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::respond;

pub(in crate::scenarios) const SCENARIO: Scenario =
    scenario("truncated-no-tcp", "a client never comes back over TCP for the rest", run);

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_GONE], Balance::Random)
        .load(stage.node)?;
    let short = respond::Args { truncate: true, ..respond::Args::default() };
    let _server = stage.programs.respond(stage.pod(&COREDNS_GONE)?, &short)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    stage.programs.query(stage.pod(&VICTIM)?, &query::Args::new(SECOND_DNS, 3))?.report()?;
    healthy.report()?;
    // A client may take its time to come back.
    sleep(Duration::from_secs(2));
    compare(watch, &[("truncated-no-tcp", &VICTIM)], |diagnosis| {
        count(diagnosis, "truncated-no-tcp", 3)
    })
}
