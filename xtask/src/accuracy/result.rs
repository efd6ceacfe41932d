//! What `lab run --out` writes about a scenario (`tests/src/result.rs`), as far
//! as the table needs it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

const SCHEMA: &str = "dnsprobe-lab/1";

/// One scenario on one kernel.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ScenarioResult {
    schema: String,
    pub(super) about: String,
    pub(super) skipped: Option<String>,
    pub(super) right: bool,
    pub(super) checks: Vec<Check>,
    pub(super) losses: Option<Losses>,
    pub(super) findings: Option<Findings>,
}

/// One thing that was compared.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Check {
    pub(super) right: bool,
    pub(super) what: String,
}

/// The lost queries by what dnsprobe made of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Losses {
    pub(super) lost: u64,
    pub(super) counted: u64,
    pub(super) right: u64,
    pub(super) wrong_cause: u64,
    pub(super) unexplained: u64,
    pub(super) wrong_pod: u64,
    pub(super) missing: u64,
    #[serde(rename = "false")]
    pub(super) false_causes: u64,
}

/// Findings against those that had to be there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Findings {
    pub(super) right: u64,
    pub(super) missing: u64,
    #[serde(rename = "false")]
    pub(super) wrong: u64,
}

impl Losses {
    /// Lost queries whose verdict names the right cause.
    pub(super) fn right_cause(&self) -> u64 {
        self.lost - self.wrong_cause - self.unexplained - self.missing
    }

    /// Lost queries whose verdict is on the right pod.
    pub(super) fn right_pod(&self) -> u64 {
        self.lost - self.wrong_pod - self.missing
    }
}

impl ScenarioResult {
    /// Reads one file.
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)?;
        Self::parse(&text).with_context(|| format!("{}", file.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let result: Self = serde_json::from_str(text)?;
        ensure!(result.schema == SCHEMA, "schema {}, not {SCHEMA}", result.schema);
        if let Some(losses) = &result.losses {
            let judged = [losses.right, losses.wrong_cause, losses.unexplained, losses.wrong_pod];
            let sum = judged.iter().sum::<u64>() + losses.missing;
            ensure!(sum == losses.lost, "{sum} judged of {} lost queries", losses.lost);
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labs_format_is_read() {
        let text = r#"{"schema": "dnsprobe-lab/1", "scenario": "x", "about": "y", "kernel": "6.12",
            "skipped": null, "right": false, "seconds": 1.5,
            "checks": [{"right": false, "what": "z"}],
            "losses": {"lost": 5, "counted": 4, "right": 1, "wrong_cause": 1, "unexplained": 1,
                "wrong_pod": 1, "missing": 1, "false": 2, "pods": []},
            "findings": {"right": 1, "missing": 0, "false": 2}}"#;
        let result = ScenarioResult::parse(text).unwrap();
        let losses = result.losses.unwrap();
        assert_eq!((losses.right_cause(), losses.right_pod(), losses.false_causes), (2, 3, 2));
        assert_eq!(result.findings.unwrap().wrong, 2);
        assert!(ScenarioResult::parse(&text.replace("lab/1", "lab/2")).is_err());
        assert!(ScenarioResult::parse(&text.replace(r#""lost": 5"#, r#""lost": 6"#)).is_err());
    }
}
