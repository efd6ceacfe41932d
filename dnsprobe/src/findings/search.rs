//! Which queries are one look-up: a resolver that tries the suffixes of its
//! search list asks for one name after the other until one exists.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

use super::join::{Joined, describe};
use crate::{
    dns::{Name, QType},
    engine::Query,
    identity::Owner,
    time::Timestamp,
};

/// How soon after the last answer a resolver goes on to the next name.
const NEXT_NAME_NS: u64 = 250_000_000;
/// How long the other type of the same name may take: a retry after 5 s.
const OTHER_TYPE_NS: u64 = 6_000_000_000;
/// When a look-up is over for sure.
const OVER_NS: u64 = 10_000_000_000;
/// Look-ups of one process at the same time.
const MAX_OPEN: usize = 8;
/// Processes with open look-ups.
const MAX_PROCESSES: usize = 1_024;
/// Names of one look-up: a search list has 6 in old resolvers, 32 in new ones.
const MAX_NAMES: usize = 40;

const NOERROR: u8 = 0;
const NXDOMAIN: u8 = 3;

/// One name that a look-up tried.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) name: Name,
    /// Whether it exists.
    pub(super) found: bool,
    /// An upstream that said that it does not.
    pub(super) upstream: Option<SocketAddr>,
    types: Vec<(QType, u16)>,
}

/// A look-up.
#[derive(Clone, Debug)]
pub(super) struct LookUp {
    pub(super) owner: Arc<Owner>,
    pub(super) candidates: Vec<Candidate>,
    pub(super) queries: u64,
    /// When its first query was sent.
    pub(super) first: Timestamp,
    last_ns: u64,
    /// Its last query, in words.
    pub(super) last_query: Query,
}

impl LookUp {
    /// Whether one of its names exists.
    pub(super) fn is_found(&self) -> bool {
        self.candidates.iter().any(|candidate| candidate.found)
    }

    /// The name without any suffix, when several names were tried.
    pub(super) fn base(&self) -> Option<Name> {
        let (first, rest) = self.candidates.split_first()?;
        let common = rest.iter().map(|other| first.name.common_leading(&other.name)).min()?;
        Some(first.name.leading(common))
    }

    /// Its last query and code, for a proof.
    pub(super) fn describe(&self) -> String {
        format!(
            "{}: {}",
            describe(&self.last_query),
            if self.is_found() { "NOERROR" } else { "NXDOMAIN" }
        )
    }

    fn takes(&self, query: &Query, name: &Name, qtype: QType) -> bool {
        let sent_ns = query.sent.unix_ns();
        let since_ns = sent_ns.saturating_sub(self.last_ns);
        if let Some(same) = self.candidates.iter().find(|candidate| candidate.name == *name) {
            let asked = same.types.iter().find(|(asked, _)| *asked == qtype);
            // To several servers at once, or the other type.
            return match asked {
                Some((_, id)) => *id == query.id && sent_ns <= self.last_ns,
                None => since_ns <= OTHER_TYPE_NS,
            };
        }
        !self.is_found()
            && sent_ns >= self.last_ns
            && since_ns <= NEXT_NAME_NS
            && self.candidates.len() < MAX_NAMES
            && self.goes_on_with(name)
    }

    /// Whether a name is what a resolver tries next: the same base with the
    /// next suffix, a shorter one, or none.
    fn goes_on_with(&self, name: &Name) -> bool {
        let Some(last) = self.candidates.last() else { return false };
        if self.candidates.len() > 1 {
            return self.base().is_some_and(|base| {
                base.depth() > 0 && name.common_leading(&base) == base.depth()
            });
        }
        let common = last.name.common_leading(name);
        let (before, after) = (last.name.without_leading(common), name.without_leading(common));
        common > 0 && (before.depth() == 0 || before.is_under(&after))
    }

    fn add(&mut self, joined: &Joined<'_>, name: Name, qtype: QType, rcode: u8) {
        let query = &joined.client.query;
        let found = rcode == NOERROR;
        let upstream = joined.upstream_with(NXDOMAIN).map(|upstream| upstream.server);
        self.queries += 1;
        self.last_ns = self.last_ns.max(joined.client.time.unix_ns());
        match self.candidates.iter_mut().find(|candidate| candidate.name == name) {
            Some(candidate) => {
                candidate.found |= found;
                candidate.upstream = candidate.upstream.or(upstream);
                candidate.types.push((qtype, query.id));
            }
            None => {
                let types = vec![(qtype, query.id)];
                self.candidates.push(Candidate { name, found, upstream, types });
            }
        }
        self.last_query = query.clone();
    }
}

type Process = (Arc<Owner>, Option<u32>);

/// Look-ups that may still go on.
#[derive(Debug, Default)]
pub(super) struct Search {
    open: BTreeMap<Process, VecDeque<LookUp>>,
}

impl Search {
    /// Takes in an answered query; look-ups that ended by it go to `done`.
    pub(super) fn add(&mut self, joined: &Joined<'_>, done: &mut Vec<LookUp>) {
        let transaction = joined.client;
        let query = &transaction.query;
        let (Some(question), Some(rcode)) = (&query.question, transaction.rcode) else { return };
        if ![NOERROR, NXDOMAIN].contains(&rcode) {
            return;
        }
        let process = (Arc::clone(&transaction.owner), query.pid);
        if self.open.len() >= MAX_PROCESSES && !self.open.contains_key(&process) {
            self.close(transaction.time, done);
            if self.open.len() >= MAX_PROCESSES {
                done.append(&mut self.close_all());
            }
        }
        let open = self.open.entry(process).or_default();
        let (name, qtype) = (question.name.clone(), question.qtype);
        if let Some(lookup) = open.iter_mut().rev().find(|lookup| lookup.takes(query, &name, qtype))
        {
            lookup.add(joined, name, qtype, rcode);
            return;
        }
        let mut lookup = LookUp {
            owner: Arc::clone(&transaction.owner),
            candidates: Vec::new(),
            queries: 0,
            first: query.sent,
            last_ns: 0,
            last_query: query.clone(),
        };
        lookup.add(joined, name, qtype, rcode);
        open.push_back(lookup);
        let now_ns = transaction.time.unix_ns();
        while open.len() > MAX_OPEN || open.front().is_some_and(|lookup| lookup.is_over(now_ns)) {
            done.extend(open.pop_front());
        }
    }

    /// Look-ups that are over by now.
    pub(super) fn close(&mut self, now: Timestamp, done: &mut Vec<LookUp>) {
        let now_ns = now.unix_ns();
        self.open.retain(|_, open| {
            let (over, going_on): (Vec<_>, Vec<_>) =
                open.drain(..).partition(|lookup| lookup.is_over(now_ns));
            done.extend(over);
            open.extend(going_on);
            !open.is_empty()
        });
    }

    /// Every look-up that is left.
    pub(super) fn close_all(&mut self) -> Vec<LookUp> {
        std::mem::take(&mut self.open).into_values().flatten().collect()
    }
}

impl LookUp {
    fn is_over(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.last_ns) > OVER_NS
    }
}
