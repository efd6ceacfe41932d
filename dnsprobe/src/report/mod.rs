//! A report: how the look-ups of a node fared over the time watched. Pure: takes
//! what a watch decides, gives what the page and JSON show. Memory is bounded,
//! and what no longer fits is counted.

mod backends;
mod lost;
mod slices;
#[cfg(test)]
pub(crate) mod tests;

use std::{collections::BTreeMap, sync::Arc};

use dnsprobe_common::flow::Role;
use serde::Serialize;

pub use backends::Backend;
pub use lost::{LostQuery, QueryId};
pub use slices::Slice;

use crate::{
    engine::{Retry, Transaction, Verdict},
    findings::{Code, Diagnosis},
    identity::Owner,
    stats::{BAND_NAMES, BANDS, LatencySummary, Snapshot},
    time::Timestamp,
};
use backends::Backends;
use lost::Losses;
use slices::Slices;

/// Where and how it was watched.
#[derive(Clone, Debug, Serialize)]
pub struct Origin {
    /// The node's name.
    pub node: String,
    /// Its kernel's release.
    pub kernel: String,
    /// Version of the dnsprobe that watched.
    pub dnsprobe: String,
    /// A query without an answer for this long counts as lost.
    pub lost_after_seconds: f64,
    /// What of the recording could not be used; `None` when all of it could, and
    /// without a recording.
    pub recording_damage: Option<String>,
    /// Whether answered queries were seen one by one; else only their counts.
    pub transactions: bool,
}

/// All that the page shows.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where and how it was watched.
    #[serde(flatten)]
    pub origin: Origin,
    /// When the first slice began.
    pub start: Timestamp,
    /// When the last slice ended.
    pub end: Timestamp,
    /// What the counts of `latency` in each slice are of, shortest first.
    pub latency_bands: [&'static str; BANDS],
    /// The time watched, in order and without gaps.
    pub slices: Vec<Slice>,
    /// Who asked, most queries first.
    pub pods: Vec<PodLatency>,
    /// Who answered, by the server that was asked.
    pub backends: Vec<Backend>,
    /// Examples of lost queries, in the order in which they were sent.
    pub lost_queries: Vec<LostQuery>,
    /// Lost queries that are not among them.
    pub lost_queries_left_out: u64,
    /// The lost query that is drawn, with its evidence.
    pub shown: Option<Verdict>,
    /// What is wrong.
    pub diagnosis: Diagnosis,
    /// What no longer fitted into memory, and how often.
    pub not_kept: BTreeMap<&'static str, u64>,
}

/// What a client's queries came to.
#[derive(Clone, Debug, Serialize)]
pub struct PodLatency {
    /// Whose.
    pub owner: Arc<Owner>,
    /// Queries it sent.
    pub queries: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Of these, lost.
    pub lost_total: u64,
    /// Query sent to answer read; `None` without an answer.
    pub latency_seconds: Option<LatencySummary>,
}

/// No lost query has the id that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("no lost query has the id {0}; without --query one is chosen, and a table lists others")]
pub struct NoSuchQuery(QueryId);

/// Takes in what a watch decides.
pub struct Collector {
    wanted: Box<dyn Fn(&Owner) -> bool>,
    slices: Slices,
    backends: Backends,
    losses: Losses,
    pods: Vec<PodLatency>,
}

impl Collector {
    /// Nothing yet. Of the owners that are `wanted`; the query to draw can be
    /// asked for.
    #[must_use]
    pub fn new(wanted: Box<dyn Fn(&Owner) -> bool>, query: Option<QueryId>) -> Self {
        Self {
            wanted,
            slices: Slices::default(),
            backends: Backends::default(),
            losses: Losses::new(query),
            pods: Vec::new(),
        }
    }

    /// Takes in an answered query.
    pub fn transaction(&mut self, transaction: &Transaction) {
        if transaction.role == Role::Client && (self.wanted)(&transaction.owner) {
            self.backends.answered(transaction);
        }
    }

    /// Takes in a lost query or a near miss.
    pub fn verdict(&mut self, verdict: &Verdict) {
        if !(self.wanted)(&verdict.owner) {
            return;
        }
        self.slices.verdict(verdict);
        if verdict.loss {
            self.backends.lost(verdict);
            self.losses.add(verdict);
        }
    }

    /// Takes in that a lost query was asked again and answered.
    pub fn retry(&mut self, retry: &Retry) {
        self.losses.answered_later(retry);
    }

    /// Takes in the end of a window; the last one also has the totals.
    pub fn snapshot(&mut self, snapshot: &Snapshot, last: bool) {
        let clients = || {
            snapshot.pods.iter().filter(|row| row.role == Role::Client && (self.wanted)(&row.owner))
        };
        self.slices.window(snapshot, clients().map(|row| &row.window));
        if last {
            self.pods = clients()
                .map(|row| PodLatency {
                    owner: Arc::clone(&row.owner),
                    queries: row.total.queries,
                    answered: row.total.answered,
                    lost_total: row.total.lost_total,
                    latency_seconds: row.total.latency_seconds,
                })
                .collect();
            self.pods.sort_by_key(|pod| std::cmp::Reverse(pod.queries));
        }
    }

    /// All of it together.
    ///
    /// # Errors
    /// When the query asked for is not among the lost ones.
    pub fn finish(self, origin: Origin, diagnosis: Diagnosis) -> Result<Report, NoSuchQuery> {
        // The worst finding that is a cause costs most.
        let costliest = diagnosis.findings.iter().find_map(|finding| match finding.code {
            Code::Cause(cause) if cause.is_loss() => Some(cause),
            _ => None,
        });
        let (lost_queries, left_out, shown) = self.losses.finish(costliest)?;
        let not_kept = [("backends", self.backends.refused())]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        let slices = self.slices.finish();
        Ok(Report {
            start: slices.first().map_or(diagnosis.time, |slice| slice.start),
            end: slices.last().map_or(diagnosis.time, |slice| slice.end),
            latency_bands: BAND_NAMES,
            slices,
            pods: self.pods,
            backends: self.backends.finish(),
            lost_queries,
            lost_queries_left_out: left_out,
            shown,
            origin,
            diagnosis,
            not_kept,
        })
    }
}
