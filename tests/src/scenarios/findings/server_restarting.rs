//! `server-restarting`: the server behind a service ends and another process
//! takes its place; nobody asked in between.

use anyhow::Result;

use super::{Outcome, Scenario, Stage, compare, count, scenario};
use crate::client::query;
use crate::lab::cast::{COREDNS_0, COREDNS_GONE, DNS, SECOND_DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server;

pub(in crate::scenarios) const SCENARIO: Scenario =
    scenario("server-restarting", "the DNS server is ended and started anew", run);

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_GONE], Balance::Random)
        .load(stage.node)?;
    let pod = stage.pod(&COREDNS_GONE)?;
    let first = server::start(pod, &server::Options::default())?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    let ask = || {
        let args = query::Args::new(SECOND_DNS, 8);
        stage.programs.query(stage.pod(&VICTIM)?, &args)?.report()
    };
    ask()?;
    drop(first);
    let _second = server::start(pod, &server::Options::default())?;
    ask()?;
    healthy.report()?;
    compare(watch, &[("server-restarting", &COREDNS_GONE)], |diagnosis| {
        count(diagnosis, "server-restarting", 1)
    })
}
