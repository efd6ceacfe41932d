//! `dnsprobe check` under test: what it found, and where.

use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::node::Node;
use super::programs::Programs;

/// What it printed.
#[derive(Debug)]
pub struct Checked {
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// Each finding at each place, as `PROBLEM of OWNER` or `PROBLEM of node`.
    pub findings: Vec<String>,
    /// The values that prove them, as `PROBLEM: VALUE`.
    pub proof: Vec<String>,
    /// What it could not read.
    pub unread: Vec<String>,
}

#[derive(Deserialize)]
struct Report {
    findings: Vec<Finding>,
    unread: Vec<Unread>,
}

#[derive(Deserialize)]
struct Finding {
    problem: String,
    places: Vec<Place>,
    proof: Vec<Proof>,
}

#[derive(Deserialize)]
struct Place {
    owner: Option<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    label: String,
}

#[derive(Deserialize)]
struct Proof {
    value: String,
}

#[derive(Deserialize)]
struct Unread {
    what: String,
    reason: String,
}

impl Checked {
    /// Run it on the node with some more arguments.
    pub fn run(node: &Node, programs: &Programs, arguments: &[&str]) -> Result<Self> {
        let directories = node.directories();
        let output = Command::new(&programs.dnsprobe)
            .args(["check", "-o", "json", "--log-dir"])
            .arg(&directories.logs)
            .arg("--cgroup-root")
            .arg(&directories.cgroups)
            .args(arguments)
            .output()
            .context("cannot run dnsprobe check")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let report: Report = serde_json::from_str(&text).with_context(|| {
            format!("not a report: {text}{}", String::from_utf8_lossy(&output.stderr))
        })?;
        Ok(Self::of(report, output.status.code()))
    }

    fn of(report: Report, exit_code: Option<i32>) -> Self {
        let (mut findings, mut proof) = (Vec::new(), Vec::new());
        for finding in report.findings {
            for place in finding.places {
                let owner = place.owner.map_or_else(|| "node".to_owned(), |owner| owner.label);
                findings.push(format!("{} of {owner}", finding.problem));
            }
            for value in finding.proof {
                proof.push(format!("{}: {}", finding.problem, value.value));
            }
        }
        let unread = report.unread.into_iter();
        let unread = unread.map(|unread| format!("{}: {}", unread.what, unread.reason)).collect();
        Self { exit_code, findings, proof, unread }
    }

    /// Findings that an earlier run did not have, and whether all it had are
    /// still there.
    #[must_use]
    pub fn new_since(&self, earlier: &Self) -> (Vec<String>, bool) {
        let mut left = earlier.findings.clone();
        let mut new = Vec::new();
        for finding in &self.findings {
            match left.iter().position(|known| known == finding) {
                Some(at) => drop(left.swap_remove(at)),
                None => new.push(finding.clone()),
            }
        }
        (new, left.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_a_finding_and_only_new_ones_count() {
        let text = r#"{"findings": [
            {"problem": "a", "places": [{"owner": null}], "proof": [{"value": "1"}]},
            {"problem": "b", "places": [{"owner": {"label": "x/y"}}, {"owner": {"label": "x/z"}}],
             "proof": []}], "unread": [{"what": "c", "reason": "d"}]}"#;
        let now = Checked::of(serde_json::from_str(text).unwrap(), Some(1));
        assert_eq!(now.findings, ["a of node", "b of x/y", "b of x/z"]);
        assert_eq!((&*now.proof[0], &*now.unread[0]), ("a: 1", "c: d"));
        let earlier = Checked { findings: vec!["b of x/y".to_owned()], ..now };
        let now = Checked::of(serde_json::from_str(text).unwrap(), Some(1));
        assert_eq!(now.new_since(&earlier).0, ["a of node", "b of x/z"]);
        assert!(!earlier.new_since(&now).1);
    }
}
