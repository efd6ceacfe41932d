//! `dnsprobe ticket` and `dnsprobe report` of a live watch: the files are whole, the
//! cause and the pod are named, and what the kernel knows stands beside it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use super::capture::complaints;
use super::stage::{LOST_AFTER, Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query::Args;
use crate::lab::capture::{Packet, dissect};
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, IPVS_CLIENT, IPVS_DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::ipvs;
use crate::lab::process::{AMPLE, Process};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "ticket-live",
    about: "a ticket and a report of a live watch name the cause and hold the node's state",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

/// Queries that a rule drops.
const DROPPED: u16 = 5;
/// How long it is watched: longer than the traffic takes.
const DURATION: &str = "5s";

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let directory = std::env::temp_dir().join(format!("dnsprobe-ticket-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let blocked = format!("-A FORWARD -s {} -p udp --dport 53 -j DROP", VICTIM.address());
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .rule("filter", blocked)
        .load(stage.node)?;
    ipvs::service(stage.node, IPVS_DNS, &[COREDNS_0])?;
    let place = directory.join("outage");
    let mut ticket = watch(stage, &["ticket", "-o"], &place)?;
    let page = directory.join("page.json");
    let mut report = watch(stage, &["report", "-o", "json", "-w"], &page)?;
    for process in [&mut ticket, &mut report] {
        process.wait_for("dnsprobe: watching", AMPLE)?;
    }

    let asks = |server, count| Args { timeout_ms: 150, ..Args::new(server, count) };
    stage.programs.query(stage.pod(&VICTIM)?, &asks(DNS, DROPPED))?.report()?;
    stage.programs.query(stage.pod(&CART)?, &asks(DNS, DROPPED))?.report()?;
    stage.programs.query(stage.pod(&IPVS_CLIENT)?, &asks(IPVS_DNS, DROPPED))?.report()?;

    // 1: a fault was found.
    for process in [ticket, report] {
        process.finish_with(AMPLE, &[1])?;
    }
    let mut told = ticket_problems(&place)?;
    told.extend(packet_problems(&dissect(&place.join("ticket/packets.pcapng"))?));
    let shown = report_problems(&page)?;
    fs::remove_dir_all(&directory)?;
    Ok(Outcome::default().checked("the ticket", told).checked("the report", shown))
}

/// A watch that writes to `file`.
fn watch(stage: &Stage<'_>, arguments: &[&str], file: &Path) -> Result<Process> {
    let directories = stage.node.directories();
    let mut command = Command::new(&stage.programs.dnsprobe);
    command
        .args(arguments)
        .arg(file)
        .args(["--duration", DURATION, "--lost-after"])
        .arg(format!("{}ms", LOST_AFTER.as_millis()))
        .arg("--log-dir")
        .arg(&directories.logs)
        .arg("--cgroup-root")
        .arg(&directories.cgroups)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let name = format!("dnsprobe {}", arguments[0]);
    let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    Ok(Process::new(name, child))
}

fn ticket_problems(place: &Path) -> Result<Vec<String>> {
    let ticket = place.join("ticket");
    let sums =
        Command::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(&ticket).output()?;
    let mut problems = Vec::new();
    if !sums.status.success() {
        problems.push(format!("checksums: {}", String::from_utf8_lossy(&sums.stdout)));
    }
    if !place.join("ticket.tar.zst").exists() || place.join("recording.rec").exists() {
        problems.push("there is no archive, or the recording is left over".to_owned());
    }
    let connection = format!("-> {IPVS_DNS}:53 -> {}:53", COREDNS_0.address());
    let policy = format!("Wrong: `policy-drop` ({DROPPED} times).");
    for (file, needed) in [
        ("ticket.md", policy.as_str()),
        ("ticket.md", &format!("**Whose:** `{}`", VICTIM.label())),
        ("ticket.md", "## Who fills the conntrack table"),
        ("stacks.txt", "nf_hook_slow"),
        ("queries.tsv", "policy-drop"),
        ("timelines.txt", "policy-drop"),
        ("plan.json", "\"attached\""),
        ("node/before/sysctls.txt", "net.netfilter.nf_conntrack_max = "),
        ("node/before/proc-version.txt", "Linux version"),
        ("node/before/proc-modules.txt", "nf_conntrack"),
        ("node/after/counters-json.txt", "\"conntrack\""),
        ("node/after/proc-net-softnet_stat.txt", " "),
        ("node/after/proc-net-snmp.txt", "Udp: "),
        // No pod runs any more: the entries are there, and nobody's.
        ("node/after/conntrack-owners-json.txt", "\"others\": "),
        ("node/after/ipvs.txt", &connection),
    ] {
        match fs::read_to_string(ticket.join(file)) {
            Ok(text) if text.contains(needed) => {}
            Ok(text) => problems.push(format!("{file} lacks {needed:?}: {text}")),
            Err(error) => problems.push(format!("{file}: {error}")),
        }
    }
    // The guest's kernel is not this machine's: its options may not be here.
    let page = fs::read_to_string(ticket.join("ticket.md"))?;
    let has_config = ticket.join("node/before/kernel-config.txt").exists();
    if has_config == page.contains("`kernel-config`: ") {
        problems
            .push("the kernel's options are there and said to be missing, or neither".to_owned());
    }
    Ok(problems)
}

/// Each query that the rule dropped is there where it was sent and where it was
/// dropped, and what was around it is not malformed.
fn packet_problems(packets: &[Packet]) -> Vec<String> {
    let mut problems = complaints(packets);
    let lost = |direction: &str| {
        let said = |packet: &&Packet, fact: &str, text: &str| {
            packet.said(fact).is_some_and(|said| said.starts_with(text))
        };
        let of_victim = packets.iter().filter(|packet| {
            said(packet, "verdict", "lost, policy-drop")
                && said(packet, "owner", &VICTIM.label())
                && said(packet, "direction", direction)
        });
        of_victim.count() as u64
    };
    for direction in ["query, sent by the client", "query, dropped"] {
        problems.extend(same(direction, lost(direction), DROPPED.into()));
    }
    problems
}

fn report_problems(page: &Path) -> Result<Vec<String>> {
    let report: Value = serde_json::from_str(&fs::read_to_string(page)?)?;
    let slices = || report["slices"].as_array().into_iter().flatten();
    let lost: u64 = slices().filter_map(|slice| slice["lost"]["policy-drop"].as_u64()).sum();
    let queries: u64 = slices().filter_map(|slice| slice["queries"].as_u64()).sum();
    let answered = |server: &str, backend: &str| {
        let rows = report["backends"].as_array().into_iter().flatten();
        rows.filter(|row| row["server"] == server && row["backend"] == backend)
            .filter_map(|row| row["answered"].as_u64())
            .sum::<u64>()
    };
    let through_ipvs = answered(&format!("{IPVS_DNS}:53"), &format!("{}:53", COREDNS_0.address()));
    let sent = 3 * u64::from(DROPPED);
    Ok([
        (lost != u64::from(DROPPED)).then(|| format!("{lost} lost, not {DROPPED}")),
        (queries < sent).then(|| format!("{queries} queries in the slices, not {sent} or more")),
        (report["shown"]["cause"] != "policy-drop").then(|| format!("shown: {}", report["shown"])),
        (through_ipvs != u64::from(DROPPED))
            .then(|| format!("{through_ipvs} answers through IPVS: {}", report["backends"])),
    ]
    .into_iter()
    .flatten()
    .collect())
}
