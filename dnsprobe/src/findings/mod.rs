//! What is wrong, from everything the engine decided: lost queries by cause,
//! answers that are the problem, and set-ups that are. Pure: no I/O, no clock of
//! its own; memory is bounded, and what no longer fits is counted.

mod books;
mod bounded;
mod code;
mod codes;
mod finding;
mod join;
mod look_ups;
mod reference;
mod ruled_out;
mod search;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use dnsprobe_common::flow::Role;

pub use code::{Code, FindingCode, Harm};
pub use finding::{AffectedPod, Diagnosis, Finding, Item, NotRuledOut};
pub use look_ups::{LookUps, LookedUp};
pub use reference::reference;
pub use ruled_out::RuledOut;

use crate::{
    dns::Name,
    engine::{ConnectFailure, Query, Transaction, Verdict},
    identity::Owner,
    stats::Snapshot,
    time::Timestamp,
};
use books::Books;
use codes::{
    autopath_suspect, cause, failed_answer, internal_name_missing, missing_name,
    nodelocal_bypassed::NodeLocal, parallel_nameservers::Parallel, search_expansion,
    server_restarting::Restarts, slow, tcp::ShortAnswers, uneven_backends::Balance,
};
use join::Join;
use ruled_out::Sums;
use search::{LookUp, Search};

/// How long a client's transaction waits for what else belongs to it: which
/// processes are servers is known when they have answered.
const WAIT_NS: u64 = 500_000_000;
/// Transactions that wait at most.
const MAX_WAITING: usize = 8_192;

/// What counts as what.
#[derive(Clone, Debug)]
pub struct Options {
    /// An answer that takes this long is slow.
    pub slow_after: Duration,
    /// The cluster's domain; learned from names when not given.
    pub cluster_domain: Option<Name>,
    /// How long IPVS keeps a UDP connection.
    pub ipvs_udp_timeout: Duration,
}

/// Collects what the engine decides.
pub struct Findings {
    options: Options,
    books: Books,
    join: Join,
    waiting: VecDeque<Transaction>,
    search: Search,
    zone: internal_name_missing::Zone,
    last_answers: cause::LastAnswers,
    parallel: Parallel,
    node_local: NodeLocal,
    balance: Balance,
    restarts: Restarts,
    short_answers: ShortAnswers,
    slow: u64,
    /// The latest moment known.
    now_ns: u64,
}

impl Findings {
    /// A collector for findings about the owners that are `wanted`.
    #[must_use]
    pub fn new(options: Options, wanted: Box<dyn Fn(&Owner) -> bool>) -> Self {
        Self {
            zone: internal_name_missing::Zone::new(options.cluster_domain.clone()),
            options,
            books: Books::new(wanted),
            join: Join::new(),
            waiting: VecDeque::new(),
            search: Search::default(),
            last_answers: cause::LastAnswers::new(),
            parallel: Parallel::new(),
            node_local: NodeLocal::new(),
            balance: Balance::new(),
            restarts: Restarts::new(),
            short_answers: ShortAnswers::default(),
            slow: 0,
            now_ns: 0,
        }
    }

    /// Takes in an answered query, from either end.
    pub fn transaction(&mut self, transaction: &Transaction) {
        self.join.add(transaction);
        match transaction.role {
            Role::Server => {
                self.last_answers.answered(transaction.query.server, transaction.time);
                self.restarts.served(transaction);
                self.node_local.served(transaction);
            }
            Role::Client => {
                self.books.query(&transaction.owner, transaction.query.sent);
                self.short_answers.sent(&transaction.owner, &transaction.query);
                self.short_answers.answered(transaction);
                self.waiting.push_back(transaction.clone());
                if self.waiting.len() > MAX_WAITING {
                    self.take_first();
                }
            }
        }
        self.tick(transaction.time);
    }

    /// Takes in a lost query or a near miss.
    pub fn verdict(&mut self, verdict: &Verdict) {
        if verdict.loss {
            self.books.query(&verdict.owner, verdict.query.sent);
            self.sent(&verdict.owner, &verdict.query);
        }
        cause::sight(verdict, &self.last_answers, &mut self.books);
    }

    /// Takes in a query whose end is nobody's loss.
    pub fn not_followed(&mut self, owner: &Arc<Owner>, role: Role, query: &Query) {
        match role {
            Role::Server => self.join.serves(owner, query),
            Role::Client => {
                self.books.query(owner, query.sent);
                self.sent(owner, query);
            }
        }
    }

    /// Takes in a TCP connection that was not made.
    pub fn connect_failed(&mut self, failure: &ConnectFailure) {
        self.short_answers.failed(failure, &self.join, &mut self.books);
    }

    /// It is this late, in kernel time.
    pub fn tick(&mut self, now: Timestamp) {
        self.now_ns = self.now_ns.max(now.unix_ns());
        while self.waiting.front().is_some_and(|first| first.time.unix_ns() + WAIT_NS < self.now_ns)
        {
            self.take_first();
        }
        let now = Timestamp::from_unix_ns(self.now_ns);
        self.short_answers.tick(now, &self.join, &mut self.books);
    }

    /// What it all adds up to.
    #[must_use]
    pub fn finish(mut self, snapshot: &Snapshot) -> Diagnosis {
        while !self.waiting.is_empty() {
            self.take_first();
        }
        for lookup in self.search.close_all() {
            self.look_up(&lookup);
        }
        self.node_local.close(&mut self.books);
        self.balance.close(&mut self.books);
        self.restarts.close(&mut self.books);
        let mut sums = Sums::default();
        let wanted = |owner: &Owner| self.books.wants(owner);
        snapshot
            .pods
            .iter()
            .filter(|row| row.role == Role::Client && wanted(&row.owner))
            .for_each(|row| sums.add(&row.total));
        let timeout_ns = nanos(self.options.ipvs_udp_timeout);
        let findings = self.books.findings(timeout_ns);
        let (ruled_out, not_ruled_out) =
            ruled_out::ruled_out(&sums, self.slow, self.options.slow_after.as_millis(), snapshot);
        Diagnosis {
            time: snapshot.time,
            since_seconds: snapshot.since_seconds,
            queries: sums.queries,
            answered: sums.answered,
            lost_total: sums.lost,
            in_flight: sums.in_flight,
            fault: findings.iter().any(|finding| finding.fault),
            findings,
            ruled_out,
            not_ruled_out,
            not_kept: self.not_kept(),
            completeness: snapshot.completeness.clone(),
        }
    }

    fn not_kept(&self) -> BTreeMap<&'static str, u64> {
        self.books
            .refused()
            .into_iter()
            .chain([
                ("server processes", self.join.refused),
                ("servers asked directly", self.node_local.refused()),
                ("flows of a service", self.balance.refused()),
                ("server addresses", self.restarts.refused()),
                ("truncated answers", self.short_answers.refused),
            ])
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// A query that got no answer was sent all the same.
    fn sent(&mut self, owner: &Arc<Owner>, query: &Query) {
        self.short_answers.sent(owner, query);
        if !self.join.is_forwarded(owner, query) {
            self.parallel.add(owner, query, &mut self.books);
        }
    }

    /// Looks at the client's transaction that has waited longest.
    fn take_first(&mut self) {
        let Some(transaction) = self.waiting.pop_front() else { return };
        if self.join.is_forwarded(&transaction.owner, &transaction.query) {
            self.node_local.forwarded(&transaction);
            return;
        }
        let joined = self.join.join(&transaction);
        if let Some(backend) = joined.backend() {
            self.last_answers.answered(backend, transaction.time);
        }
        self.node_local.asked(&joined);
        self.balance.add(&joined);
        self.parallel.add(&transaction.owner, &transaction.query, &mut self.books);
        if let Some(question) = &transaction.query.question {
            self.zone.learn(&transaction.owner, &question.name);
        }
        if !self.books.wants(&transaction.owner) {
            return;
        }
        failed_answer::sight(&joined, &mut self.books);
        autopath_suspect::sight(&joined, &self.zone, &mut self.books);
        let slow_seconds = self.options.slow_after.as_secs_f64();
        self.slow += u64::from(transaction.latency_seconds >= slow_seconds);
        slow::sight(&joined, slow_seconds, &mut self.books);
        let mut done = Vec::new();
        self.search.add(&joined, &mut done);
        for lookup in done {
            self.look_up(&lookup);
        }
    }

    /// Looks at a look-up that is over.
    fn look_up(&mut self, lookup: &LookUp) {
        if lookup.is_found() {
            search_expansion::sight(lookup, &mut self.books);
        } else if !internal_name_missing::sight(lookup, &self.zone, &mut self.books) {
            missing_name::sight(lookup, &mut self.books);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
