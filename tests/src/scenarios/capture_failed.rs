//! `dnsprobe capture --failed`: of a conntrack clash the file has the packets of the
//! queries that were lost, each where it was sent and where it was dropped; with
//! `--before` and `--after` also those of others at that time. What a capture leaves
//! that was killed can be read.

use std::collections::BTreeMap;

use anyhow::Result;

use super::capture::complaints;
use super::stage::{LOST_AFTER, Stage};
use super::{Kernels, Outcome, Scenario};
use crate::client::pair;
use crate::client::report::Report;
use crate::lab::capture::{Capture, Packet, Scratch};
use crate::lab::cast::{CART, COREDNS_0, DNS, SECOND_DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::hold;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "capture-failed",
    about: "of a conntrack clash, the packets of the queries that were lost and what was around",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const QUEUE: u16 = 7;
const PAIRS: u16 = 3;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let victim = stage.pod(&VICTIM)?;
    Rules::default()
        .service(DNS, &[COREDNS_0], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_0], Balance::Random)
        .rule("nat", hold::rule(&victim.spec().address().to_string(), QUEUE))
        .load(stage.node)?;
    let _hold = stage.programs.hold(&hold::Args { queue: QUEUE, count: 2 })?;
    let scratch = Scratch::new("capture-failed")?;
    let capture = |name: &str, arguments: &[&str]| {
        let (program, directories) = (&stage.programs.dnsprobe, stage.node.directories());
        Capture::start(program, directories, &scratch.file(name), LOST_AFTER, arguments)
    };
    let failed = capture("failed.pcapng", &["--failed"])?;
    let around = capture("around.pcapng", &["--failed", "--before", "500ms", "--after", "500ms"])?;
    let killed = capture("killed.pcapng", &["-C", "1", "-W", "10"])?;
    let healthy = stage.healthy_pod(DNS)?;
    let pairs =
        pair::Args { second_server: Some(SECOND_DNS.into()), pairs: PAIRS, ..pair::Args::new(DNS) };
    let report = stage.programs.pair(victim, &pairs)?.report()?;
    healthy.report()?;

    let (failed, _) = failed.finish()?;
    let (around, _) = around.finish()?;
    let killed = killed.kill_with("0")?;
    let mut problems = complaints(&failed);
    problems.extend(complaints(&around));
    problems.extend(complaints(&killed));
    problems.extend(of_losses(&failed, &report));
    if let Some(lost) = failed.iter().find(|lost| !around.contains(lost)) {
        problems.push(format!("not among what was around it: {lost:?}"));
    }
    let is_of = |packet: &&Packet, owner: &str| {
        packet.said("owner").is_some_and(|said| said.starts_with(owner))
    };
    let others = around.iter().filter(|packet| is_of(packet, &CART.label())).count();
    if others < 4 {
        problems.push(format!("{others} packets of another pod around the losses"));
    }
    if killed.len() < failed.len() {
        problems.push(format!("the killed capture's file has {} packets", killed.len()));
    }
    Ok(Outcome::default().checked("packets of what was lost", problems))
}

/// Of each lost query, the packet where it was sent and where it was dropped, and
/// nothing else.
fn of_losses(packets: &[Packet], report: &Report) -> Vec<String> {
    let mut problems = Vec::new();
    let mut found: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for packet in packets {
        let is_said =
            |fact: &str, text: &str| packet.said(fact).is_some_and(|said| said.starts_with(text));
        if !is_said("verdict", "lost, conntrack-clash") || !is_said("owner", &VICTIM.label()) {
            problems.push(format!("not a packet of a lost query: {packet:?}"));
        }
        if is_said("direction", "query, dropped") && packet.said("stack").is_none() {
            problems.push(format!("no stack: {packet:?}"));
        }
        let direction = packet.said("direction").unwrap_or_default();
        found.entry(packet.dns.id).or_default().push(direction);
    }
    let mut expected: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for lost in &report.unanswered {
        expected.insert(lost.id, vec!["query, sent by the client", "query, dropped"]);
    }
    if expected.is_empty() || found != expected {
        problems.push(format!("packets by id: {found:?}, expected {expected:?}"));
    }
    problems
}
