//! `nodelocal-bypassed`: a cache answers on the node; two pods ask it, a third
//! asks the cluster's service as before.

use anyhow::Result;

use super::{Outcome, Scenario, Stage, compare, count, scenario};
use crate::client::query;
use crate::lab::cast::{API, COREDNS_0, COREDNS_1, DNS, NODE_LOCAL_DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::node_local::Cache;

pub(in crate::scenarios) const SCENARIO: Scenario = scenario(
    "nodelocal-bypassed",
    "a pod asks the cluster's service although a node-local cache answers",
    run,
);

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let mut rules = Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random);
    for rule in Cache::untracked() {
        rules = rules.rule("raw", rule);
    }
    rules.load(stage.node)?;
    let _cache = Cache::start(stage.node)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(NODE_LOCAL_DNS)?;
    for (spec, server) in [(API, NODE_LOCAL_DNS), (VICTIM, DNS)] {
        let args = query::Args::new(server, 8);
        stage.programs.query(stage.pod(&spec)?, &args)?.report()?;
    }
    healthy.report()?;
    compare(watch, &[("nodelocal-bypassed", &VICTIM)], |diagnosis| {
        count(diagnosis, "nodelocal-bypassed", 8)
    })
}
