//! What became of a transaction, as its packets' comments say it.

use std::{net::SocketAddr, sync::Arc};

use dnsprobe_common::flow::Role;

use super::{Conversation, Seen};
use crate::{
    dns::rcode_name,
    engine::{Query, Transaction, Verdict},
    identity::Owner,
};

/// A packet of a transaction is captured at most this much before or behind what
/// counts as its begin and its end: another program sees those.
const SLACK_NS: u64 = 10_000_000;

/// How a transaction ended.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Which transaction, with the packets of its other end.
    pub conversation: Conversation,
    /// Who was asked, as this end knows it.
    pub server: SocketAddr,
    /// Process id of the sender, where it was known.
    pub pid: Option<u32>,
    /// Command of the sender, where it was known.
    pub command: Option<String>,
    /// Which end.
    pub role: Role,
    /// Whose end.
    pub owner: Arc<Owner>,
    /// What became of it.
    pub end: String,
    /// Whether what the user asked for is this.
    pub wanted: bool,
    /// Packets between these moments are its own, Unix nanoseconds.
    from_ns: u64,
    until_ns: u64,
}

impl Decision {
    /// Of an answered query.
    #[must_use]
    pub fn answered(transaction: &Transaction, wanted: bool) -> Self {
        let rcode =
            transaction.rcode.map_or("an answer whose code was not seen".into(), rcode_name);
        let what = match transaction.role {
            Role::Client => "answered",
            Role::Server => "this server answered",
        };
        let ms = transaction.latency_seconds * 1e3;
        let end = format!("{what} {rcode} after {ms:.3} ms");
        let Transaction { query, owner, role, time, .. } = transaction;
        Self::new(query, *role, owner, end, wanted, time.unix_ns())
    }

    /// Of a lost query or a near miss. `until_ns`: when it was decided.
    #[must_use]
    pub fn verdict(verdict: &Verdict, wanted: bool, until_ns: u64) -> Self {
        let word = if verdict.loss { "lost" } else { "near miss" };
        let end = format!("{word}, {}: {}", verdict.cause, verdict.summary);
        let Verdict { query, owner, .. } = verdict;
        Self::new(query, Role::Client, owner, end, wanted, until_ns)
    }

    /// Of a query whose end is nobody's loss. `until_ns`: when it was decided.
    #[must_use]
    pub fn not_followed(
        query: &Query,
        role: Role,
        owner: &Arc<Owner>,
        wanted: bool,
        until_ns: u64,
    ) -> Self {
        let end = match role {
            Role::Client => "not followed: its asker had its answer elsewhere, or asked anew",
            Role::Server => "this server gave no answer",
        };
        Self::new(query, role, owner, end.to_owned(), wanted, until_ns)
    }

    fn new(
        query: &Query,
        role: Role,
        owner: &Arc<Owner>,
        end: String,
        wanted: bool,
        until_ns: u64,
    ) -> Self {
        Self {
            conversation: Conversation { client: query.client, id: query.id },
            server: query.server,
            pid: query.pid,
            command: query.command.clone(),
            role,
            owner: Arc::clone(owner),
            end,
            wanted,
            from_ns: query.sent.unix_ns().saturating_sub(SLACK_NS),
            until_ns: until_ns.saturating_add(SLACK_NS),
        }
    }

    /// When its query was sent, as far as its packets go; Unix nanoseconds.
    #[must_use]
    pub fn begin_ns(&self) -> u64 {
        self.from_ns
    }

    /// The end of it, Unix nanoseconds.
    #[must_use]
    pub fn end_ns(&self) -> u64 {
        self.until_ns
    }

    /// Whether a packet of its conversation is of its time.
    pub(super) fn is_of_time(&self, seen: &Seen) -> bool {
        (self.from_ns..=self.until_ns).contains(&seen.time.unix_ns())
    }

    /// Whether a packet of its conversation is of this end and this server.
    pub(super) fn is_own(&self, seen: &Seen) -> bool {
        self.role == seen.packet.role()
            && self.server == seen.packet.server()
            && self.is_of_time(seen)
    }

    /// Whether this is the same transaction seen from its other end, or something else
    /// that is known of it, rather than another one with the same id.
    pub(super) fn adds_to(&self, own: Option<&Self>, seen: &Seen) -> bool {
        let is_same = |own: &Self| own.server == self.server && own.from_ns == self.from_ns;
        self.role != seen.packet.role() || own.is_some_and(is_same)
    }
}
