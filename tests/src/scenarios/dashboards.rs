//! The dashboards that are shipped, asked of a real Prometheus that has scraped a node
//! with traffic, losses and near misses: every panel shows something.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::stage::{LOST_AFTER, Stage};
use super::{Kernels, Outcome, Scenario, conntrack_clash_resolved};
use crate::client::pair;
use crate::client::query::Args;
use crate::lab::bridge;
use crate::lab::cast::{API, COREDNS_0, DNS, FRONTEND, IPVS_DNS, VICTIM};
use crate::lab::ipvs;
use crate::lab::prometheus::Prometheus;
use crate::lab::serve::Server;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "dashboards",
    about: "every panel of the dashboards shows something in a real Prometheus",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PORT: u16 = 19_353;
const PROMETHEUS_PORT: u16 = 19_090;
/// A rate needs series that grow after they were first scraped.
const ROUNDS: u64 = 2;
const PAIRS: u16 = 2;
const DASHBOARDS: [(&str, &str); 3] = [
    ("cluster", include_str!("../../../deploy/grafana/dnsprobe-cluster.json")),
    ("node", include_str!("../../../deploy/grafana/dnsprobe-node.json")),
    ("pod", include_str!("../../../deploy/grafana/dnsprobe-pod.json")),
];
/// What Grafana puts in for the variables, where everything is chosen.
const VARIABLES: [(&str, &str); 4] =
    [("$__rate_interval", "2m"), ("$instance", ".*"), ("$namespace", ".*"), ("$pod", ".*")];

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let blocked = format!("-A FORWARD -s {} -p udp --dport 53 -j DROP", VICTIM.address());
    conntrack_clash_resolved::rules().rule("filter", blocked).load(stage.node)?;
    let directories = stage.node.directories();
    ipvs::service(stage.node, IPVS_DNS, &[COREDNS_0])?;
    let sampled = ["--sample-processes=2"];
    let server = Server::start(&stage.programs.dnsprobe, PORT, LOST_AFTER, directories, &sampled)?;
    // For some turns of the sample.
    let args = Args { interval_ms: 250, ..Args::new(IPVS_DNS, 120) };
    stage.programs.query(stage.pod(&API)?, &args)?.report()?;
    let prometheus = Prometheus::start(PROMETHEUS_PORT, PORT)?;
    for round in 1..=ROUNDS {
        faults(stage, &server, round)?;
        prometheus.catch_up()?;
    }
    let mut problems = Vec::new();
    let mut asked = 0;
    for (dashboard, text) in DASHBOARDS {
        let queries = queries(text).with_context(|| format!("the {dashboard} dashboard"))?;
        asked += queries.len();
        for (panel, query) in queries {
            if prometheus.numbers(&query)?.is_empty() {
                problems.push(format!("{dashboard}, {panel} is empty: {query}"));
            }
        }
    }
    ensure!(asked > DASHBOARDS.len(), "the dashboards ask for nothing");
    server.finish()?;
    Ok(Outcome::default().checked("what the panels show", problems))
}

/// Answers, losses and near misses; until they are told for the `round`th time.
fn faults(stage: &Stage<'_>, server: &Server, round: u64) -> Result<()> {
    let servers = conntrack_clash_resolved::SERVERS;
    let answered = stage.healthy_pod(DNS)?;
    let args = Args { timeout_ms: 100, ..Args::new(DNS, 4) };
    let lost = stage.programs.query(stage.pod(&VICTIM)?, &args)?.report()?;
    bridge::forget_neighbours(stage.node, &servers)?;
    let pairs = pair::Args { pairs: PAIRS, timeout_ms: 3_500, ..pair::Args::new(DNS) };
    let pairs = stage.programs.pair(stage.pod(&FRONTEND)?, &pairs)?;
    bridge::wait_for_translated(stage.node, round * 2 * u64::from(PAIRS))?;
    bridge::learn_neighbours(stage.node, &servers)?;
    pairs.report()?;
    answered.report()?;
    let series = super::serve::series(
        "dnsprobe_lost_queries_total",
        VICTIM.namespace,
        VICTIM.name,
        ",cause=\"policy-drop\"",
    );
    server.wait_for_metric(&series, (round * lost.lost()) as f64)
}

/// Every query of a dashboard, with the title of its panel.
fn queries(dashboard: &str) -> Result<Vec<(String, String)>> {
    let dashboard: Value = serde_json::from_str(dashboard)?;
    let mut found = Vec::new();
    let mut panels: Vec<&Value> =
        dashboard["panels"].as_array().context("no panels")?.iter().collect();
    while let Some(panel) = panels.pop() {
        panels.extend(panel["panels"].as_array().into_iter().flatten());
        for target in panel["targets"].as_array().into_iter().flatten() {
            let title = panel["title"].as_str().context("a panel without a title")?;
            let query = target["expr"].as_str().context("a query without an expression")?;
            found.push((title.to_owned(), put_in(query)?));
        }
    }
    Ok(found)
}

fn put_in(query: &str) -> Result<String> {
    let put = |query: String, (name, value): (&str, &str)| query.replace(name, value);
    let query = VARIABLES.into_iter().fold(query.to_owned(), put);
    ensure!(!query.contains('$'), "a variable that is not known: {query}");
    Ok(query)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_dashboard_has_queries_and_no_variable_is_left() {
        for (name, text) in DASHBOARDS {
            let queries = queries(text).unwrap();
            assert!(queries.len() > 10, "{name}");
            let titles: BTreeMap<_, _> = queries.into_iter().collect();
            assert!(titles.len() > 10, "{name}");
        }
        assert!(put_in("rate(x[$__range])").is_err());
    }
}
