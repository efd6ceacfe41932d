//! A node-local cache: a server of the node itself on a link-local address, its
//! packets untracked. Two pods ask it and are answered; then its process is
//! gone, and a third is told port unreachable.

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{API, CART, COREDNS_0, COREDNS_1, DNS, NODE_LOCAL_DNS, VICTIM, WORKER};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::node_local::Cache;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "node-local-cache",
    about: "pods ask an untracked cache on the node's link-local address; then it is gone",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let mut rules = Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random);
    for rule in Cache::untracked() {
        rules = rules.rule("raw", rule);
    }
    rules.load(stage.node)?;
    let mut cache = Cache::start(stage.node)?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let queries =
        |count| query::Args { timeout_ms: 200, ..query::Args::new(NODE_LOCAL_DNS, count) };
    let mut expectation = Expectation::default();
    for spec in [API, WORKER] {
        let report = stage.programs.query(stage.pod(&spec)?, &queries(10))?.report()?;
        expectation.healthy(&spec.label(), &report)?;
    }
    cache.stop();
    let connected = query::Args { connected: true, ..queries(4) };
    let report = stage.programs.query(stage.pod(&VICTIM)?, &connected)?.report()?;
    expectation.loses(&VICTIM.label(), &report, "no-listener")?;
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    let entries = stage.node.namespace().run("conntrack -L -p udp")?;
    let tracked = entries.lines().filter(|line| line.contains("169.254.20.10")).count();
    Ok(Outcome::new(expectation, watch.finish()?)
        .also(same("tracked flows of the cache", tracked as u64, 0))
        .also(same("errors on the connected socket", report.refused, report.sent)))
}
