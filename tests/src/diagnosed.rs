//! What `dnsprobe diagnose` said, as far as the lab checks it.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::observed::{Completeness, Owner};

/// The whole diagnosis.
#[derive(Debug, Deserialize)]
pub struct Diagnosis {
    /// Name and version of the format.
    schema: String,
    /// Kind of object.
    kind: String,
    /// Whether there is a fault among the findings.
    pub fault: bool,
    /// Queries of the clients.
    pub queries: u64,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What was ruled out.
    pub ruled_out: Vec<RuledOut>,
    /// What did not fit into memory.
    pub not_kept: serde_json::Map<String, serde_json::Value>,
    /// What could not be seen.
    pub completeness: Completeness,
}

/// One finding.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Finding {
    pub code: String,
    pub subject: Option<String>,
    pub fault: bool,
    pub count: u64,
    pub pods: Vec<Pod>,
    pub pattern: String,
    pub proof: Vec<String>,
    pub items: Vec<Item>,
    pub advice: String,
}

/// A pod of a finding.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Pod {
    pub owner: Owner,
    pub count: u64,
}

/// A part of a finding.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Item {
    pub what: String,
    pub count: u64,
}

/// Something ruled out.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct RuledOut {
    pub what: String,
    pub of: u64,
}

impl Diagnosis {
    /// Read what `dnsprobe diagnose -o json` printed.
    pub fn parse(lines: &[String]) -> Result<Self> {
        ensure!(lines.len() == 1, "{} lines instead of one", lines.len());
        let diagnosis: Self = serde_json::from_str(&lines[0])
            .with_context(|| format!("not as agreed: {}", lines[0]))?;
        ensure!(diagnosis.schema == "dnsprobe/1" && diagnosis.kind == "diagnosis", "wrong kind");
        Ok(diagnosis)
    }

    /// `CODE of OWNER`, once for each pod of each finding.
    #[must_use]
    pub fn found(&self) -> Vec<String> {
        self.findings
            .iter()
            .flat_map(|finding| {
                finding.pods.iter().map(|pod| format!("{} of {}", finding.code, pod.owner.label))
            })
            .collect()
    }

    /// The findings of one code.
    pub fn of<'a>(&'a self, code: &'a str) -> impl Iterator<Item = &'a Finding> {
        self.findings.iter().filter(move |finding| finding.code == code)
    }

    /// What is wrong about the diagnosis whatever was found: findings without
    /// proof or advice, an exit code that does not fit, something not seen.
    #[must_use]
    pub fn problems(&self, exit_code: i32) -> Vec<String> {
        let mut problems = Vec::new();
        for finding in &self.findings {
            if finding.proof.is_empty() || finding.advice.is_empty() {
                problems.push(format!("{} without proof or advice", finding.code));
            }
            if finding.count != finding.pods.iter().map(|pod| pod.count).sum::<u64>() {
                problems.push(format!("{}: the pods' counts do not add up", finding.code));
            }
        }
        if self.fault != self.findings.iter().any(|finding| finding.fault) {
            problems.push("`fault` is not what the findings say".into());
        }
        if exit_code != i32::from(self.fault) {
            problems.push(format!("exit code {exit_code} with fault {}", self.fault));
        }
        if !self.completeness.complete {
            problems.push(format!("not complete: {:?}", self.completeness));
        }
        if !self.not_kept.is_empty() {
            problems.push(format!("not kept: {:?}", self.not_kept));
        }
        problems
    }
}
