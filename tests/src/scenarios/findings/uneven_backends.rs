//! `uneven-backends`: nine of ten flows go to one of two servers. A service
//! with a random balance beside it is left alone.

use anyhow::Result;

use super::{Outcome, Scenario, Stage, compare, scenario};
use crate::client::query;
use crate::lab::cast::{API, CART, COREDNS_0, COREDNS_1, DNS, SECOND_DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};

pub(in crate::scenarios) const SCENARIO: Scenario =
    scenario("uneven-backends", "nine of ten flows go to one of two servers", run);

const QUERIES: u16 = 120;
const CODE: &str = "uneven-backends";

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_0, COREDNS_1], Balance::OneInTen)
        .load(stage.node)?;
    let watch = stage.diagnose()?;
    let args = |server| query::Args {
        fresh_port: true,
        interval_ms: 15,
        ..query::Args::new(server, QUERIES)
    };
    for (spec, server) in [(VICTIM, SECOND_DNS), (API, DNS), (CART, DNS)] {
        stage.programs.query(stage.pod(&spec)?, &args(server))?.report()?;
    }
    compare(watch, &[(CODE, &VICTIM)], |diagnosis| {
        let subject = format!("{SECOND_DNS}:53");
        diagnosis
            .of(CODE)
            .filter(|finding| finding.subject.as_ref() != Some(&subject))
            .map(|finding| format!("the service is {:?}, not {subject}", finding.subject))
            .collect()
    })
}
