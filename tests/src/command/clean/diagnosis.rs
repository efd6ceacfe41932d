//! `dnsprobe diagnose` beside the counting one: what it says at the end.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde::Deserialize;

use crate::lab::process::{AMPLE, Process};
use crate::lab::{Node, Programs};
use crate::observed::Owner;

/// What was found.
#[derive(Debug, Deserialize)]
pub(super) struct Diagnosis {
    pub(super) queries: u64,
    pub(super) findings: Vec<Finding>,
}

/// One finding.
#[derive(Debug, Deserialize)]
pub(super) struct Finding {
    pub(super) code: String,
    pub(super) summary: String,
    pub(super) pods: Vec<Hit>,
}

/// A pod of a finding.
#[derive(Debug, Deserialize)]
pub(super) struct Hit {
    pub(super) owner: Owner,
}

/// A `dnsprobe diagnose` that watches.
pub(super) struct Diagnosing(Process);

/// Until it is told to stop.
const FOR_EVER: &str = "7d";

impl Diagnosing {
    /// Start it and wait until everything is attached.
    pub(super) fn start(node: &Node, programs: &Programs, lost_after: Duration) -> Result<Self> {
        let directories = node.directories();
        let mut command = Command::new(&programs.dnsprobe);
        command
            .args(["diagnose", "-o", "json", "--duration", FOR_EVER, "--lost-after"])
            .arg(format!("{}ms", lost_after.as_millis()))
            .arg("--log-dir")
            .arg(&directories.logs)
            .arg("--cgroup-root")
            .arg(&directories.cgroups)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Process::new("dnsprobe diagnose", command.spawn()?);
        process.wait_for("dnsprobe: watching", AMPLE)?;
        Ok(Self(process))
    }

    /// Stop it and hear what it found.
    pub(super) fn finish(self) -> Result<Diagnosis> {
        self.0.signal(Signal::SIGINT)?;
        // 1: it found a fault.
        let lines = self.0.finish_with(AMPLE, &[0, 1])?;
        let line = lines.last().context("dnsprobe diagnose printed nothing")?;
        serde_json::from_str(line).with_context(|| format!("not a diagnosis: {line}"))
    }
}
