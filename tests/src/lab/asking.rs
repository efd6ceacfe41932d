//! Running `dnsprobe query` from a pod and reading its report.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::pod::Pod;
use super::{Node, Programs};
use crate::observed::Owner;

/// What `dnsprobe query` said.
#[derive(Debug)]
pub struct Asked {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its report.
    pub report: Report,
}

/// A `query-report`, as far as the lab looks at it.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Report {
    pub owner: Option<Owner>,
    pub steps: Vec<Step>,
    pub servers: Vec<Server>,
    pub unreadable: Vec<serde_json::Value>,
    pub conclusions: Vec<Conclusion>,
}

/// A name of the search list.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Step {
    pub name: String,
}

/// A server that was asked.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Server {
    pub address: String,
    pub service: bool,
    pub udp: Counts,
}

/// Its queries.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Counts {
    pub sent: u64,
    pub answered: u64,
}

/// What is proven.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Conclusion {
    pub code: String,
    pub servers: Vec<String>,
}

impl Asked {
    /// Each conclusion as `CODE of SERVERS`.
    #[must_use]
    pub fn conclusions(&self) -> Vec<String> {
        let words = |conclusion: &Conclusion| match &conclusion.servers[..] {
            [] => conclusion.code.clone(),
            servers => format!("{} of {}", conclusion.code, servers.join(", ")),
        };
        self.report.conclusions.iter().map(words).collect()
    }

    /// Each server with its answers, as `ADDRESS ANSWERED/SENT`.
    #[must_use]
    pub fn answers(&self) -> Vec<String> {
        let words = |server: &Server| {
            format!("{} {}/{}", server.address, server.udp.answered, server.udp.sent)
        };
        self.report.servers.iter().map(words).collect()
    }
}

impl Programs {
    /// Ask for `name` from `pod`, `count` times per server. The pod gets a
    /// process for as long as that takes, as every real pod has one.
    pub fn ask(&self, node: &Node, pod: &Pod, name: &str, count: u16) -> Result<Asked> {
        let mut idle = Command::new("sleep");
        idle.arg("120");
        let _idle = pod.spawn(idle)?;
        let directories = node.directories();
        let output = Command::new(&self.dnsprobe)
            .args(["query", name, "-o", "json", "--timeout", "1s", "--pod", &pod.label()])
            .args(["--count", &count.to_string()])
            .arg("--log-dir")
            .arg(&directories.logs)
            .arg("--cgroup-root")
            .arg(&directories.cgroups)
            .stdin(Stdio::null())
            .output()
            .context("cannot run dnsprobe query")?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            !said.is_empty(),
            "dnsprobe query said nothing ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let report =
            serde_json::from_str(&said).with_context(|| format!("not as agreed: {said}"))?;
        Ok(Asked { code: output.status.code(), report })
    }
}
