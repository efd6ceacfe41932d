//! One ticket, made and read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::derive::{self, Node};

/// What is slow in the lab (`tests/src/lab/diagnose.rs`).
const SLOW_AFTER: &str = "250ms";
/// Verdicts that a ticket keeps per cause; of more than these only the first are
/// looked at.
const KEPT: u64 = 200;

/// What `lab run --out` writes, as far as it is needed here.
#[derive(Debug, Deserialize)]
pub(super) struct LabResult {
    pub(super) about: String,
    pub(super) skipped: Option<String>,
    losses: Option<Losses>,
    findings: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Losses {
    pods: Vec<PodLosses>,
}

#[derive(Debug, Deserialize)]
struct PodLosses {
    pod: String,
    cause: String,
    lost: u64,
}

/// Lost queries by pod and cause.
type ByPod = BTreeMap<(String, String), u64>;

impl LabResult {
    /// Reads `NAME.result.json`.
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{}", file.display()))
    }

    /// What the clients lost, by their own count.
    fn lost(&self) -> ByPod {
        let pods = self.losses.iter().flat_map(|losses| &losses.pods);
        pods.filter(|row| row.lost > 0)
            .map(|row| ((row.pod.clone(), row.cause.clone()), row.lost))
            .collect()
    }

    /// Whether anything was wrong at all.
    pub(super) fn is_fault(&self) -> bool {
        !self.lost().is_empty() || self.findings.is_some()
    }
}

/// Makes the ticket from the recording, checks its checksums, unpacks nothing
/// else, and says what a reader would not have found: nothing when all is well.
pub(super) fn misses(
    dnsprobe: &Path,
    directory: &Path,
    name: &str,
    result: &LabResult,
    out: &Path,
) -> Result<Vec<String>> {
    let ticket = make(dnsprobe, &directory.join(format!("{name}.rec")), out)?;
    let mut misses = Vec::new();
    let checked = Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(&ticket)
        .output()?;
    if !checked.status.success() {
        misses.push(format!("checksums: {}", String::from_utf8_lossy(&checked.stdout).trim()));
    }
    let expected = result.lost();
    let derived = derived(&ticket)?;
    if result.losses.is_some() {
        misses.extend(differences(&expected, &derived));
    }
    let page = fs::read_to_string(ticket.join("ticket.md"))?;
    for cause in expected.keys().map(|(_, cause)| cause) {
        if !page.contains(&format!(": {cause}")) {
            misses.push(format!("ticket.md does not name {cause}"));
        }
    }
    if result.findings.is_some() {
        misses.extend(findings(&directory.join(format!("{name}.jsonl")), &ticket)?);
    }
    misses.dedup();
    Ok(misses)
}

fn make(dnsprobe: &Path, recording: &Path, out: &Path) -> Result<PathBuf> {
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    let made = Command::new(dnsprobe)
        .args(["ticket", "--slow-after", SLOW_AFTER, "--from"])
        .arg(recording)
        .arg("-o")
        .arg(out)
        .output()?;
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    // 1: a fault was found.
    ensure!(matches!(made.status.code(), Some(0 | 1)), "no ticket: {said}");
    Ok(out.join("ticket"))
}

/// Losses by what their evidence proves.
fn derived(ticket: &Path) -> Result<ByPod> {
    let verdicts = json(&ticket.join("verdicts.json"))?;
    let node = Node { long_chains: long_chains(ticket) };
    let mut derived = ByPod::new();
    for verdict in verdicts["verdicts"].as_array().into_iter().flatten() {
        if verdict["loss"] == true {
            let pod = verdict["owner"]["label"].as_str().unwrap_or("?").to_owned();
            let cause = derive::cause(verdict, node).to_owned();
            *derived.entry((pod, cause)).or_default() += 1;
        }
    }
    Ok(derived)
}

fn long_chains(ticket: &Path) -> u64 {
    let count = |phase: &str| {
        let counters = json(&ticket.join(format!("node/{phase}/counters-json.txt"))).ok()?;
        counters["conntrack"]["chaintoolong"].as_u64()
    };
    count("before").zip(count("after")).map_or(0, |(before, after)| after.saturating_sub(before))
}

fn differences(expected: &ByPod, derived: &ByPod) -> Vec<String> {
    // In both there is a key twice; a set also brings them into order.
    let keys: BTreeSet<_> = expected.keys().chain(derived.keys()).collect();
    keys.into_iter()
        .filter_map(|key| {
            let lost = expected.get(key).copied().unwrap_or(0);
            let found = derived.get(key).copied().unwrap_or(0);
            let (pod, cause) = key;
            (found != lost && found < KEPT)
                .then(|| format!("{cause} of {pod}: {lost} lost, {found} told by the evidence"))
        })
        .collect()
}

/// Findings that `diagnose` printed and the ticket lacks, or the reverse.
fn findings(printed: &Path, ticket: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(printed).with_context(|| format!("{}", printed.display()))?;
    let codes = |diagnosis: &Value| -> Vec<String> {
        let findings = diagnosis["findings"].as_array().into_iter().flatten();
        findings.map(|finding| finding["code"].to_string()).collect()
    };
    let live: Value = serde_json::from_str(text.lines().next().unwrap_or_default())?;
    let (live, told) = (codes(&live), codes(&json(&ticket.join("findings.json"))?));
    Ok((live != told)
        .then(|| format!("diagnose found {}, the ticket has {}", live.join(" "), told.join(" ")))
        .into_iter()
        .collect())
}

fn json(file: &Path) -> Result<Value> {
    let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_has_to_be_told_and_no_other() {
        let of = |cause: &str, count| ((("shop/a").to_owned(), cause.to_owned()), count);
        let lost = ByPod::from([of("policy-drop", 3)]);
        assert!(differences(&lost, &lost).is_empty());
        let told = ByPod::from([of("policy-drop", 2), of("unexplained", 1)]);
        assert_eq!(differences(&lost, &told).len(), 2);
    }
}
