//! Pods that mean harm: one sends broken messages to a DNS port, one answers queries
//! that were not put to it. dnsprobe lives, escapes every byte, makes no series of
//! them, and takes no forged answer for one.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::serve::{equal, series, start};
use super::stage::{LOST_AFTER, Stage};
use super::{Kernels, Outcome, Scenario};
use crate::client::{forge, hostile, query};
use crate::lab::cast::{API, CART, COREDNS_0, DNS, VICTIM, WORKER};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::prometheus::lint;
use crate::lab::serve::Server;
use crate::lab::spec::Spec;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "serve-hostile",
    about: "broken messages to a DNS port, and answers forged by another pod",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PORT: u16 = 19_353;
/// Where the forger's victim asks from.
const SOURCE_PORT: u16 = 5_355;
const QUERIES: u16 = 6;
/// Each round is one of each kind.
const ROUNDS: u16 = 12;
/// Series that one pod that asks one server may have, with all its buckets.
const SERIES: usize = 100;
/// Names that may have a series; all others have one together.
const NAMES: usize = 2;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let blocked =
        |spec: Spec| format!("-A FORWARD -s {} -p udp --dport 53 -j DROP", spec.address());
    Rules::default()
        .service(DNS, &[COREDNS_0], Balance::Random)
        .rule("filter", blocked(VICTIM))
        .rule("filter", blocked(WORKER))
        .load(stage.node)?;
    let names = format!("--top-names={NAMES}");
    let server = start(stage, PORT, &["--max-verdicts=100000", &names])?;
    let healthy = stage.healthy_pod(DNS)?;
    let args =
        query::Args { source_port: SOURCE_PORT, timeout_ms: 200, ..query::Args::new(DNS, QUERIES) };
    let deceived = stage.programs.query(stage.pod(&WORKER)?, &args)?;
    let victim = SocketAddr::new(WORKER.address().into(), SOURCE_PORT);
    let forging = forge::Args { victim, ids: QUERIES, rounds: 100, interval_ms: 10 };
    let forger = stage.programs.forge(stage.pod(&API)?, &forging)?;
    let args = hostile::Args { server: DNS.into(), rounds: ROUNDS };
    let broken = stage.programs.hostile(stage.pod(&VICTIM)?, &args)?.report()?;
    let (deceived, healthy) = (deceived.report()?, healthy.report()?);
    forger.report()?;
    sleep(LOST_AFTER + Duration::from_millis(2500));

    let mut counts = Vec::new();
    if deceived.alien == 0 {
        counts.push("no forged answer reached its victim".to_owned());
    }
    for (spec, report, lost) in
        [(VICTIM, &broken, broken.sent), (WORKER, &deceived, deceived.sent), (CART, &healthy, 0)]
    {
        let of = |metric: &str, more: &str| series(metric, spec.namespace, spec.name, more);
        for (series, truth) in [
            (of("dnsprobe_queries_total", ""), report.sent),
            (of("dnsprobe_lost_queries_total", ",cause=\"policy-drop\""), lost),
            (of("dnsprobe_latency_seconds_count", ""), report.sent - lost),
        ] {
            counts.extend(equal(&series, server.metric(&series)?, truth));
        }
    }
    let page = server.text("/metrics")?;
    let mut outputs = lint(&page)?;
    let of_victim = page.lines().filter(|line| line.contains(VICTIM.name)).count();
    if of_victim > SERIES {
        outputs.push(format!("{of_victim} series for one pod"));
    }
    outputs.extend(names_lost(&page, broken.sent + deceived.sent)?);
    outputs.extend(unescaped_pages(&server)?);
    let lines = server.finish()?;
    outputs.extend(equal(
        "lost queries on standard output",
        lines.len() as f64,
        broken.sent + deceived.sent,
    ));
    outputs.extend(lines.iter().flat_map(|line| unescaped_json("standard output", line)));
    Ok(Outcome::default()
        .checked("what each pod asked and lost", counts)
        .checked("every output, to the byte", outputs))
}

/// The names that metrics tell: few, and with their counts every lost query.
fn names_lost(page: &str, lost: u64) -> Result<Vec<String>> {
    let told: Vec<f64> = page
        .lines()
        .filter(|line| line.starts_with("dnsprobe_top_lost_names{"))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(_, value)| value.parse().context("a value of dnsprobe_top_lost_names"))
        .collect::<Result<_>>()?;
    let mut problems = Vec::new();
    if told.len() != NAMES + 1 {
        problems.push(format!("{} series of names, and not {NAMES} and one", told.len()));
    }
    problems.extend(equal("lost queries by name", told.iter().sum(), lost));
    Ok(problems)
}

fn unescaped_pages(server: &Server) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for path in ["/metrics", "/"] {
        problems.extend(unescaped(path, &server.text(path)?));
    }
    if server.text("/")?.contains("<script") {
        problems.push("/ has the markup of a name".to_owned());
    }
    for path in ["/api/v1/snapshot", "/api/v1/verdicts", "/api/v1/hooks"] {
        for line in server.text(path)?.lines() {
            problems.extend(unescaped_json(path, line));
        }
    }
    Ok(problems)
}

/// A line that is no JSON, or has a character that no output may have.
fn unescaped_json(what: &str, line: &str) -> Vec<String> {
    let broken = serde_json::from_str::<Value>(line).err();
    let broken = broken.map(|error| format!("{what} is no JSON: {error}"));
    broken.into_iter().chain(unescaped(what, line)).collect()
}

fn unescaped(what: &str, text: &str) -> Option<String> {
    let wrong = text.chars().find(|found| found.is_control() && *found != '\n')?;
    Some(format!("{what} has the character {wrong:?}"))
}
