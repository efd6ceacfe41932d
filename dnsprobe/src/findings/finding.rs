//! What `diagnose` says: findings, what was ruled out, and what was not seen.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use super::{Code, Harm, RuledOut};
use crate::{engine::Pattern, identity::Owner, stats::Completeness, time::Timestamp};

/// Everything found in the time watched.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The moment.
    pub time: Timestamp,
    /// Time since the start, seconds.
    pub since_seconds: f64,
    /// Queries that clients on this node sent.
    pub queries: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Of these, lost.
    pub lost_total: u64,
    /// Of these, not decided yet.
    pub in_flight: u64,
    /// Whether one of the findings is a fault.
    pub fault: bool,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// What was looked for and did not happen.
    pub ruled_out: Vec<RuledOut>,
    /// What could not be looked for.
    pub not_ruled_out: Vec<NotRuledOut>,
    /// Observations that no longer fitted into memory, by what they are.
    pub not_kept: BTreeMap<&'static str, u64>,
    /// What could not be seen.
    pub completeness: Completeness,
}

/// One thing that is wrong or worth knowing.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What.
    pub code: Code,
    /// What it is about, where one code is found several times.
    pub subject: Option<String>,
    /// How bad.
    pub harm: Harm,
    /// Whether it is a fault.
    pub fault: bool,
    /// How often it happened.
    pub count: u64,
    /// Queries of the same pods in all.
    pub queries: u64,
    /// Which pods, those hit most often first.
    pub pods: Vec<AffectedPod>,
    /// When it happens.
    pub pattern: Pattern,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// What was seen, in a sentence.
    pub summary: &'static str,
    /// Occurrences and figures that prove it.
    pub proof: Vec<String>,
    /// Its parts: names, suffixes or servers, the most frequent first.
    pub items: Vec<Item>,
    /// What to do.
    pub advice: &'static str,
}

/// A pod that a finding is about.
#[derive(Clone, Debug, Serialize)]
pub struct AffectedPod {
    /// Who.
    pub owner: Arc<Owner>,
    /// How often.
    pub count: u64,
    /// Its queries in all.
    pub queries: u64,
}

/// One name, suffix or server of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What.
    pub what: String,
    /// How often.
    pub count: u64,
}

/// Something that could not be looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotRuledOut {
    /// What, as in `ruled_out`.
    pub what: &'static str,
    /// Why: what was not seen.
    pub reason: String,
}
