//! What dnsprobe said: its JSON lines, read into the parts the lab checks.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

/// Everything one run of dnsprobe printed.
#[derive(Debug)]
pub struct Observed {
    /// The last snapshot.
    pub last: Snapshot,
    /// The snapshots before it.
    pub earlier: Vec<Snapshot>,
    /// Every verdict, near misses included.
    pub verdicts: Vec<Verdict>,
    /// Every transaction (`trace` only).
    pub transactions: Vec<Transaction>,
    /// Every lost query whose repetition was answered (`trace` only).
    pub retries: Vec<Retry>,
}

/// A snapshot.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Snapshot {
    /// One row per owner and role.
    pub pods: Vec<Row>,
    /// What could not be seen.
    pub completeness: Completeness,
}

/// One owner in one role.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Row {
    /// Whose queries these are.
    pub owner: Owner,
    /// `client` or `server`.
    pub role: String,
    /// Since start.
    pub total: Counts,
}

/// Whom dnsprobe holds responsible.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Owner {
    /// `namespace/name`, `host/unit` or `unattributed`.
    pub label: String,
    /// Id of a pod's container.
    #[serde(default)]
    pub container: Option<String>,
    /// Its name.
    #[serde(default)]
    pub container_name: Option<String>,
    /// What made the pod.
    #[serde(default)]
    pub workload: Option<Workload>,
}

/// What made a pod, and how that is known.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Workload {
    pub kind: String,
    pub name: String,
    pub source: String,
}

/// What became of a number of queries.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Counts {
    pub queries: u64,
    pub answered: u64,
    pub lost: BTreeMap<String, u64>,
    pub lost_total: u64,
    pub near_misses: BTreeMap<String, u64>,
    pub in_flight: i64,
    pub not_followed: u64,
    pub rcodes: BTreeMap<String, u64>,
    pub latency_seconds: Option<Latency>,
}

/// Percentiles as dnsprobe prints them, in seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Latency {
    pub count: u64,
    pub p50: f64,
    pub p99: f64,
}

/// What dnsprobe admits not to have seen.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Completeness {
    pub complete: bool,
    pub missing: Vec<Missing>,
    pub lost_events: u64,
    pub in_flight_full: u64,
    pub stats_full: u64,
    pub tcp_unread: u64,
    pub unattributed_queries: u64,
}

/// A hook role that is not attached.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Missing {
    pub role: String,
    pub reason: String,
}

/// A verdict on one query.
#[derive(Clone, Debug, Deserialize)]
pub struct Verdict {
    /// Code of the failure catalogue.
    pub cause: String,
    /// False for a near miss.
    pub loss: bool,
    /// Whose query it was.
    pub owner: Owner,
    /// The query.
    pub query: Query,
    /// The proof in words.
    pub summary: String,
    /// The other query of a clash.
    #[serde(default)]
    pub sibling: Option<Query>,
    /// Facts.
    #[serde(default)]
    pub evidence: Vec<Value>,
    /// Whether it was an A/AAAA pair on one socket.
    #[serde(default)]
    pub pair: Option<bool>,
}

/// A query by what is on the wire.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Query {
    pub name: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub id: u16,
    pub client: SocketAddr,
    pub server: SocketAddr,
    #[serde(default)]
    pub remote: Option<Remote>,
    #[serde(default)]
    pub backend: Option<Backend>,
}

/// Who dnsprobe says has an address.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Remote {
    pub kind: String,
    pub source: String,
    pub label: String,
}

/// Where a query went behind translations.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Backend {
    pub address: SocketAddr,
    pub remote: Option<Remote>,
}

/// A finished transaction.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Transaction {
    pub owner: Owner,
    pub role: String,
    pub query: Query,
    pub rcode: Option<String>,
    pub latency_seconds: f64,
}

/// A lost query and its repetition.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct Retry {
    pub owner: Owner,
    pub query: Query,
    pub lost: LostQuery,
    pub same_socket: bool,
    pub lookup_seconds: f64,
}

/// The lost one.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "named as in dnsprobe's JSON")]
pub struct LostQuery {
    pub cause: String,
    #[serde(flatten)]
    pub query: Query,
}

impl Observed {
    /// Read the lines of `dnsprobe top -o json` or `dnsprobe trace -o json`.
    pub fn parse(lines: &[String]) -> Result<Self> {
        let mut snapshots: Vec<Snapshot> = Vec::new();
        let mut verdicts = Vec::new();
        let mut transactions = Vec::new();
        let mut retries = Vec::new();
        for line in lines {
            let value: Value =
                serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
            ensure!(value["schema"] == "dnsprobe/1", "no schema dnsprobe/1 in: {line}");
            let context = || format!("not as agreed: {line}");
            match value["kind"].as_str() {
                Some("snapshot") => {
                    snapshots.push(serde_json::from_value(value).with_context(context)?);
                }
                Some("verdict") => {
                    verdicts.push(serde_json::from_value(value).with_context(context)?)
                }
                Some("transaction") => {
                    transactions.push(serde_json::from_value(value).with_context(context)?);
                }
                Some("retry") => {
                    retries.push(serde_json::from_value(value).with_context(context)?);
                }
                _ => bail!("unknown kind in: {line}"),
            }
        }
        let last = snapshots.pop().context("dnsprobe printed no snapshot")?;
        Ok(Self { last, earlier: snapshots, verdicts, transactions, retries })
    }
}

impl Verdict {
    /// The `tuples` object of a clash verdict's evidence.
    #[must_use]
    pub fn tuples(&self) -> Option<&Value> {
        self.evidence.iter().find_map(|fact| fact.get("tuples"))
    }
}
