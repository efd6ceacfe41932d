//! `autopath-suspect`: an answer that belongs to another name than was asked,
//! and an external name that exists with a search suffix.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Outcome, Scenario, Stage, compare, count, scenario};
use crate::client::query;
use crate::client::resolver::Resolver;
use crate::lab::cast::{API, COREDNS_DEAF, COREDNS_GONE, DNS, SECOND_DNS, VICTIM};
use crate::lab::clients::{Lookup, Pace};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::{NAME, OUTSIDE};
use crate::lab::{respond, server};

pub(in crate::scenarios) const SCENARIO: Scenario = scenario(
    "autopath-suspect",
    "an answer for another name, and an external name that exists with a suffix",
    run,
);

const CODE: &str = "autopath-suspect";

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_DEAF], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_GONE], Balance::Random)
        .load(stage.node)?;
    let options = server::Options { outside_in_search: true, ..server::Options::default() };
    let _server = server::start(stage.pod(&COREDNS_DEAF)?, &options)?;
    let other = respond::Args { answer_as: Some(NAME.into()), ..respond::Args::default() };
    let _other = stage.programs.respond(stage.pod(&COREDNS_GONE)?, &other)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    let args = query::Args { name: OUTSIDE.into(), ..query::Args::new(SECOND_DNS, 3) };
    stage.programs.query(stage.pod(&API)?, &args)?.report()?;
    let pace = Pace::Every(Duration::from_millis(400));
    let lookup = Lookup { name: OUTSIDE, count: 2, pace, options: None };
    let resolver = stage.programs.resolve(stage.pod(&VICTIM)?, Resolver::Glibc, 1, lookup)?;
    ensure!(resolver.lookups()?.failed == 0, "the name does not exist with the suffix");
    healthy.report()?;
    compare(watch, &[(CODE, &API), (CODE, &VICTIM)], |diagnosis| {
        // A and AAAA of both look-ups.
        count(diagnosis, CODE, 3 + 4)
    })
}
