//! `servfail`, `refused`: the code is the server's own; it asked nobody.

use anyhow::Result;

use super::{Outcome, Scenario, Stage, compare, count, scenario};
use crate::client::query;
use crate::lab::cast::{API, COREDNS_0, COREDNS_1, COREDNS_GONE, DNS, SECOND_DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::respond;
use crate::lab::server::MISSING_OUTSIDE;

pub(in crate::scenarios) const SCENARIO: Scenario =
    scenario("failed-answers", "servers answer SERVFAIL and REFUSED by themselves", run);

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_GONE], Balance::Random)
        .load(stage.node)?;
    let wrong = respond::Args { rcode: 2, ..respond::Args::default() };
    let _server = stage.programs.respond(stage.pod(&COREDNS_GONE)?, &wrong)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    stage.programs.query(stage.pod(&VICTIM)?, &query::Args::new(SECOND_DNS, 3))?.report()?;
    // dnsmasq without an upstream refuses what it does not know.
    let outside = query::Args { name: MISSING_OUTSIDE.into(), ..query::Args::new(DNS, 2) };
    stage.programs.query(stage.pod(&API)?, &outside)?.report()?;
    healthy.report()?;
    compare(watch, &[("servfail", &VICTIM), ("refused", &API)], |diagnosis| {
        [count(diagnosis, "servfail", 3), count(diagnosis, "refused", 2)].concat()
    })
}
