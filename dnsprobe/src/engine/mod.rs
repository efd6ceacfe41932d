//! From observations to verdicts: joins what happened to packets with the
//! queries that got no answer, and applies one rule per cause. Pure: no I/O,
//! no clock of its own, no order of arrival beyond kernel timestamps.

mod by_number;
mod connection;
mod evidence;
mod facts;
mod moments;
mod node_history;
mod observation;
mod pattern;
#[cfg(test)]
mod properties;
mod retry;
mod rules;
mod significance;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod timeline;
mod transaction;
mod verdict;

use std::{net::SocketAddr, sync::Arc};

use dnsprobe_common::flow::Role;
use serde::{Deserialize, Serialize};

pub use connection::{ConnectError, ConnectFailure, ConnectSeen, transport_name};
pub use moments::{Moment, asked};
pub use observation::{
    AtServer, Backend, BackendState, ConntrackEntry, Device, DroppedBy, Fact, FactKind,
    Observation, PacketSeen, QueryId, QuerySeen, QueueFull, Translation, Tuple, Unanswered,
};
pub use pattern::Pattern;
pub use retry::{LostQuery, Retries, Retry};
pub use significance::at_least_by_chance;
pub use timeline::Timeline;
pub use transaction::{Parts, Transaction};
pub use verdict::{Cause, Evidence, Query, Sibling, Verdict};

use crate::{
    identity::{Identify, Owner},
    time::Clock,
};
use facts::Facts;
use node_history::NodeHistory;

/// What of the kernel is not seen, as far as verdicts depend on it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Blindness {
    /// Drops are not seen at all.
    pub drops: bool,
    /// Transmission by devices is not seen.
    pub transmit: bool,
    /// Refusals to confirm are not seen.
    pub confirm: bool,
    /// Clashes are not seen.
    pub clash: bool,
    /// Invalidation of entries that are not confirmed yet is not seen.
    pub purge: bool,
    /// A full conntrack table is not seen.
    pub table_full: bool,
    /// IPVS drops are not seen.
    pub ipvs: bool,
    /// ICMP errors are not seen where the kernel has no drop reasons.
    pub icmp: bool,
    /// Queries are seen only when a device takes them.
    pub late_sending: bool,
    /// Names of all roles that are missing.
    pub missing: Vec<String>,
}

/// What the engine makes of observations.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A lost query or a near miss.
    Verdict(Box<Verdict>),
    /// An answered query.
    Transaction(Box<Transaction>),
    /// A query whose end is nobody's loss: its asker had its answer from
    /// another server, it shared its id with another query, or it is the
    /// server's end of a query.
    NotFollowed {
        /// Whose query.
        owner: Arc<Owner>,
        /// Which end.
        role: Role,
        /// Who was asked.
        server: SocketAddr,
        /// The query.
        query: Box<Query>,
    },
    /// A TCP connection to a DNS port that was never made. No query was sent
    /// on it, so no count knows of it.
    ConnectFailed(Box<ConnectFailure>),
    /// A query that no counter of the kernel programs has.
    Uncounted {
        /// Whose query.
        owner: Arc<Owner>,
        /// Who was asked.
        server: SocketAddr,
    },
}

/// Joins observations into outcomes.
pub struct Engine {
    facts: Facts,
    history: NodeHistory,
    blindness: Blindness,
    /// When events were last known to be missing, kernel nanoseconds.
    events_lost_ns: Option<u64>,
}

impl Engine {
    /// An engine for hooks with these gaps.
    #[must_use]
    pub fn new(blindness: Blindness) -> Self {
        Self {
            facts: Facts::default(),
            history: NodeHistory::default(),
            blindness,
            events_lost_ns: None,
        }
    }

    /// Says that events were lost up to a moment: until then nothing may be
    /// concluded from the absence of a fact.
    pub fn events_lost(&mut self, at_ns: u64) {
        self.events_lost_ns = self.events_lost_ns.max(Some(at_ns));
    }

    /// Forgets facts older than a moment; queries sent before it have their
    /// verdict by then.
    pub fn forget(&mut self, before_ns: u64) {
        self.facts.forget(before_ns);
    }

    /// Takes in one observation.
    pub fn observe(
        &mut self,
        observation: Observation,
        identify: &mut dyn Identify,
        clock: &Clock,
        sink: &mut dyn FnMut(Outcome),
    ) {
        match observation {
            Observation::Transaction { query, end_ns } => {
                let transaction = evidence::transaction(&query, end_ns, identify, clock);
                sink(Outcome::Transaction(Box::new(transaction)));
            }
            Observation::Unanswered { query, how } => {
                sink(self.unanswered(&query, how, identify, clock));
            }
            Observation::ConnectFailed(seen) => {
                let failure = ConnectFailure::of(&seen, identify, clock);
                sink(Outcome::ConnectFailed(Box::new(failure)));
            }
            Observation::Fact(fact) => self.fact(*fact, identify, clock, sink),
            Observation::ConntrackPurge { at_ns, command } => self.history.purged(at_ns, command),
            Observation::ChainTooLong { at_ns, packets } => self.history.counted(at_ns, packets),
        }
    }

    fn fact(
        &mut self,
        fact: Fact,
        identify: &mut dyn Identify,
        clock: &Clock,
        sink: &mut dyn FnMut(Outcome),
    ) {
        if let FactKind::Clash { resolved: true, .. } = fact.kind {
            let verdict = evidence::near_miss(&fact, identify, clock);
            sink(Outcome::Verdict(Box::new(verdict)));
        }
        let never_sent = self.never_sent(&fact);
        if let Some(at_ns) = self.facts.add(fact) {
            self.events_lost(at_ns);
        }
        if let Some(query) = never_sent {
            let owner = identify.owner(query.owner);
            sink(Outcome::Uncounted { owner, server: query.id.server });
            sink(self.unanswered(&query, Unanswered::NeverSent, identify, clock));
        }
    }

    /// The query of a packet that did not come as far as the hook that would
    /// have counted it: dropped on its sender's socket, or never made.
    fn never_sent(&self, fact: &Fact) -> Option<QuerySeen> {
        let packet = &fact.packet;
        let uncounted = match fact.kind {
            FactKind::Drop { queue_full: None, .. } => self.blindness.late_sending,
            FactKind::SendFailed { .. } => true,
            _ => false,
        };
        if !uncounted || packet.is_answer || packet.query.is_some() {
            return None;
        }
        Some(packet.unseen_query(packet.owner?))
    }

    fn unanswered(
        &mut self,
        query: &QuerySeen,
        how: Unanswered,
        identify: &mut dyn Identify,
        clock: &Clock,
    ) -> Outcome {
        let owner = identify.owner(query.owner);
        if query.role == Role::Server {
            return not_followed(query, owner, identify, clock);
        }
        let until_ns = match how {
            Unanswered::SentAgain(at_ns) => at_ns,
            Unanswered::Overtaken => return not_followed(query, owner, identify, clock),
            Unanswered::Expired | Unanswered::NeverSent => u64::MAX,
        };
        let facts = self.facts.take(query, until_ns);
        let timeline = rules::Timeline {
            query,
            facts: &facts,
            blindness: &self.blindness,
            events_lost_ns: self.events_lost_ns,
            history: &self.history,
        };
        let decision = rules::decide(&timeline);
        // The asker had its answer elsewhere and stopped waiting; only what
        // is proven to have gone wrong is still worth a word.
        if query.other_answer_ns.is_some()
            && matches!(
                decision.cause,
                Cause::Unexplained | Cause::LateAnswer | Cause::RemoteSilence
            )
        {
            return not_followed(query, owner, identify, clock);
        }
        let verdict = evidence::verdict(&timeline, decision, owner, identify, clock);
        Outcome::Verdict(Box::new(verdict))
    }
}

fn not_followed(
    seen: &QuerySeen,
    owner: Arc<Owner>,
    identify: &mut dyn Identify,
    clock: &Clock,
) -> Outcome {
    let query = Box::new(evidence::query(seen, identify, clock));
    Outcome::NotFollowed { owner, role: seen.role, server: seen.id.server, query }
}
