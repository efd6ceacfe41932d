//! Patterns: the same loss with every query, only in a burst, and only since a
//! backend went away.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Outcome, Scenario, Stage, compare, pattern, scenario};
use crate::client::query;
use crate::lab::cast::{
    COREDNS_0, COREDNS_1, COREDNS_GONE, DNS, IPVS_CLIENT, IPVS_DNS, SECOND_DNS, VICTIM,
};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::ipvs;

pub(in crate::scenarios) const ALWAYS: Scenario =
    scenario("pattern-always", "nothing listens: every query is lost", always);
pub(in crate::scenarios) const PEAK: Scenario =
    scenario("pattern-peak", "a few queries all the time, and a burst that is lost", peak);
pub(in crate::scenarios) const SCALING_WINDOW: Scenario = scenario(
    "pattern-scaling-window",
    "a kept source port loses its queries from a scale-in on",
    scaling_window,
);

fn always(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_GONE], Balance::Random)
        .load(stage.node)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    let args = query::Args { timeout_ms: 150, ..query::Args::new(SECOND_DNS, 6) };
    stage.programs.query(stage.pod(&VICTIM)?, &args)?.report()?;
    healthy.report()?;
    compare(watch, &[("no-listener", &VICTIM)], |diagnosis| {
        pattern(diagnosis, "no-listener", "always")
    })
}

fn peak(stage: &Stage<'_>) -> Result<Outcome> {
    const BURST_PORT: u16 = 5353;
    Rules::default()
        .service(DNS, &[COREDNS_0], Balance::Random)
        .rule("filter", format!("-A FORWARD -p udp --sport {BURST_PORT} -j DROP"))
        .load(stage.node)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    let victim = stage.pod(&VICTIM)?;
    let steady = query::Args { interval_ms: 250, ..query::Args::new(DNS, 32) };
    let steady = stage.programs.query(victim, &steady)?;
    sleep(Duration::from_secs(4));
    let burst = query::Args {
        burst: true,
        source_port: BURST_PORT,
        timeout_ms: 100,
        ..query::Args::new(DNS, 60)
    };
    let burst = stage.programs.query(victim, &burst)?.report()?;
    ensure!(burst.lost() == burst.sent, "the burst was answered");
    ensure!(steady.report()?.lost() == 0, "the steady queries were lost");
    healthy.report()?;
    compare(watch, &[("policy-drop", &VICTIM)], |diagnosis| {
        pattern(diagnosis, "policy-drop", "peak")
    })
}

fn scaling_window(stage: &Stage<'_>) -> Result<Outcome> {
    const PORT: u16 = 5353;
    let client = stage.pod(&IPVS_CLIENT)?;
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    ipvs::service(stage.node, IPVS_DNS, &[COREDNS_0, COREDNS_1])?;
    ipvs::keep_stale_connections(stage.node)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    let from_port = |count| query::Args {
        source_port: PORT,
        timeout_ms: 200,
        ..query::Args::new(IPVS_DNS, count)
    };
    let ask = |args: &query::Args| stage.programs.query(client, args)?.report();
    ask(&from_port(3))?;
    healthy.report()?;
    let backend = ipvs::backend_of(stage.node, client.spec().address(), PORT)?;
    ipvs::remove_backend(stage.node, IPVS_DNS, backend)?;
    let lost = ask(&from_port(5))?;
    ensure!(lost.lost() == 5, "the stale connection was given up");
    compare(watch, &[("ipvs-stale-backend", &IPVS_CLIENT)], |diagnosis| {
        pattern(diagnosis, "ipvs-stale-backend", "scaling-window")
    })
}
