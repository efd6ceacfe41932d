//! Single queries that go into a ticket: those that were lost, nearly lost, or
//! answered with a failure. A bounded number; the rest is counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use dnsprobe_common::flow::Role;
use serde_json::{Value, json};

use super::parsed;
use crate::{
    dns::rcode_name,
    engine::{Cause, Query, Transaction, Verdict},
    identity::{Owner, Remote},
    output::{json as lines, printable},
    time::Timestamp,
};

/// Verdicts kept per cause.
const VERDICTS: usize = 200;
/// Rows for the server's operator.
const QUERIES: usize = 2_000;
/// Names of remote ends: of this node's pods and the cluster's services.
const REMOTE_NAMES: usize = 65_536;
/// Different places where the kernel dropped or refused.
const STACKS: usize = 200;

/// Whose queries, and which causes.
pub struct Scope {
    /// Whether an owner's queries are meant.
    pub owner: Box<dyn Fn(&Owner) -> bool>,
    /// The causes; all when empty.
    pub causes: Vec<Cause>,
    /// Whether failed answers are meant too.
    pub failed_answers: bool,
}

/// Takes in what is decided.
pub struct Collector {
    scope: Scope,
    verdicts: Vec<Verdict>,
    counts: BTreeMap<Cause, u64>,
    queries: Vec<Row>,
    queries_left_out: u64,
    stacks: BTreeMap<Stack, u64>,
    stacks_left_out: u64,
    remote_names: BTreeSet<String>,
}

/// One query, as the operator of its server asks for it.
struct Row {
    at: Timestamp,
    query: Query,
    owner: String,
    /// The server's own address, where it differs from the one asked.
    backend: Option<String>,
    outcome: String,
}

/// Where the kernel ended a packet's way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stack {
    cause: Cause,
    kind: String,
    reason: String,
    location: String,
    callers: Vec<String>,
}

impl Collector {
    /// Nothing yet.
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            verdicts: Vec::new(),
            counts: BTreeMap::new(),
            queries: Vec::new(),
            queries_left_out: 0,
            stacks: BTreeMap::new(),
            stacks_left_out: 0,
            remote_names: BTreeSet::new(),
        }
    }

    /// The verdicts kept, in order of their time of decision.
    #[must_use]
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// How many there were, by cause.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<Cause, u64> {
        &self.counts
    }

    /// Every name of a remote end that any text may hold.
    pub(super) fn remote_names(&self) -> impl Iterator<Item = &String> {
        self.remote_names.iter()
    }

    fn meet(&mut self, query: &Query) {
        let behind = query.backend.as_ref().and_then(|backend| backend.remote.as_ref());
        for remote in query.remote.iter().chain(behind) {
            for name in remote.names() {
                if self.remote_names.len() < REMOTE_NAMES && !self.remote_names.contains(&name) {
                    self.remote_names.insert(name);
                }
            }
        }
    }

    /// Takes in a decided query.
    pub fn verdict(&mut self, verdict: &Verdict) {
        self.meet(&verdict.query);
        verdict.sibling.iter().for_each(|other| self.meet(&other.query));
        let Scope { owner, causes, .. } = &self.scope;
        if !owner(&verdict.owner) || !(causes.is_empty() || causes.contains(&verdict.cause)) {
            return;
        }
        let count = self.counts.entry(verdict.cause).or_default();
        *count += 1;
        for stack in stacks(verdict) {
            if self.stacks.len() < STACKS || self.stacks.contains_key(&stack) {
                *self.stacks.entry(stack).or_default() += 1;
            } else {
                self.stacks_left_out += 1;
            }
        }
        if *count <= VERDICTS as u64 {
            self.verdicts.push(verdict.clone());
        }
        let backend = verdict.translated.map(|tuple| tuple.to_string());
        let outcome = verdict.cause.to_string();
        self.row(verdict.query.sent, &verdict.query, &verdict.owner, backend, outcome);
    }

    /// Takes in an answered query.
    pub fn transaction(&mut self, transaction: &Transaction) {
        self.meet(&transaction.query);
        const SERVFAIL: u8 = 2;
        const REFUSED: u8 = 5;
        let failed = matches!(transaction.rcode, Some(SERVFAIL | REFUSED));
        if !failed
            || transaction.role != Role::Client
            || !self.scope.failed_answers
            || !(self.scope.owner)(&transaction.owner)
        {
            return;
        }
        let backend = transaction.translated.map(|tuple| tuple.to_string());
        let outcome =
            transaction.rcode.map_or_else(String::new, |code| rcode_name(code).into_owned());
        let query = &transaction.query;
        self.row(query.sent, query, &transaction.owner, backend, outcome);
    }

    fn row(
        &mut self,
        at: Timestamp,
        query: &Query,
        owner: &Owner,
        backend: Option<String>,
        outcome: String,
    ) {
        if self.queries.len() >= QUERIES {
            self.queries_left_out += 1;
            return;
        }
        let (query, owner) = (query.clone(), owner.to_string());
        self.queries.push(Row { at, query, owner, backend, outcome });
    }

    /// Everything kept of the verdicts, as `trace -o json` prints them.
    pub(super) fn verdicts_json(&self) -> Value {
        let verdicts: Vec<Value> =
            self.verdicts.iter().map(|verdict| parsed(lines::Record::Verdict(verdict))).collect();
        json!({ "schema": lines::SCHEMA, "kind": "verdicts", "counts": self.counts, "verdicts": verdicts })
    }

    /// What the operator of a server asks for, one query a line.
    pub(super) fn queries_tsv(&self, node: &str) -> String {
        let mut text = String::from(
            "sent_utc\tnode\tpod\tclient\tserver_asked\tserver_is\tpacket_as_it_left\tbackend_is\ttransport\tid\tname\ttype\toutcome\n",
        );
        for row in &self.queries {
            let Query { question, id, client, server, .. } = &row.query;
            let (name, kind) = question.as_ref().map_or_else(
                || ("?".to_owned(), "?".to_owned()),
                |question| (question.name.to_string(), question.qtype.to_string()),
            );
            let transport = crate::engine::transport_name(row.query.transport);
            let backend = row.backend.as_deref().unwrap_or("-");
            let label = |remote: Option<&Arc<Remote>>| {
                remote.map_or_else(|| "-".to_owned(), ToString::to_string)
            };
            let server_is = label(row.query.remote.as_ref());
            let behind = row.query.backend.as_ref();
            let backend_is = label(behind.and_then(|behind| behind.remote.as_ref()));
            let line = format!(
                "{}\t{node}\t{}\t{client}\t{server}\t{server_is}\t{backend}\t{backend_is}\t{transport}\t{id}\t{name}\t{kind}\t{}",
                row.at, row.owner, row.outcome
            );
            let fields: Vec<_> = line.split('\t').map(printable).collect();
            text += &fields.join("\t");
            text.push('\n');
        }
        if self.queries_left_out > 0 {
            let _ = writeln!(text, "# {} more, left out", self.queries_left_out);
        }
        text
    }

    /// Where packets ended, most often first.
    pub(super) fn stacks_txt(&self) -> String {
        if self.stacks.is_empty() {
            return "No function of the kernel was seen to drop or refuse any of these packets.\n"
                .to_owned();
        }
        let mut stacks: Vec<(&Stack, &u64)> = self.stacks.iter().collect();
        stacks.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let mut text = String::new();
        for (stack, count) in stacks {
            let reason = printable(&stack.reason);
            let _ = writeln!(text, "{count} x {} ({}, reason: {reason})", stack.cause, stack.kind);
            for function in [&stack.location].into_iter().chain(&stack.callers) {
                let _ = writeln!(text, "    {}", printable(function));
            }
            text.push('\n');
        }
        if self.stacks_left_out > 0 {
            let _ = writeln!(text, "{} more in other places, left out", self.stacks_left_out);
        }
        text
    }
}

/// The places in the kernel that a verdict's evidence names.
fn stacks(verdict: &Verdict) -> impl Iterator<Item = Stack> + '_ {
    verdict.evidence.iter().filter_map(|item| {
        let text = |key: &str| item.detail.get(key).and_then(Value::as_str);
        let kind = text("kind")?;
        let location = match kind {
            "drop" => text("location")?,
            "clash" => "nf_ct_resolve_clash",
            "confirm-drop" => "__nf_conntrack_confirm",
            "nat-drop" => "nf_nat_masquerade_ipv4",
            "ipvs-drop" => "ip_vs_in_hook",
            _ => return None,
        };
        let callers = item.detail.get("callers").and_then(Value::as_array);
        let callers = callers.into_iter().flatten().filter_map(Value::as_str);
        Some(Stack {
            cause: verdict.cause,
            kind: kind.to_owned(),
            reason: text("reason").unwrap_or("none given").to_owned(),
            location: location.to_owned(),
            callers: callers.map(str::to_owned).collect(),
        })
    })
}
