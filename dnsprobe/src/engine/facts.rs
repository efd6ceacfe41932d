//! What happened to packets, kept until the queries they belong to are
//! decided.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
};

use dnsprobe_common::flow::Transport;

use super::{Fact, FactKind, QuerySeen};

/// How many facts are kept; the oldest go first. A fact is about half a
/// kibibyte.
pub(super) const MAX_FACTS: usize = 65_536;

type Key = (SocketAddr, u16);

/// Facts by asking side and DNS id.
#[derive(Default)]
pub(crate) struct Facts {
    by_query: HashMap<Key, Vec<Fact>>,
    order: VecDeque<(u64, Key)>,
}

impl Facts {
    /// Keeps a fact. Returns the time of a fact that had to go to make room:
    /// nothing may be concluded from its absence.
    pub(crate) fn add(&mut self, fact: Fact) -> Option<u64> {
        let key = (fact.packet.client(), fact.packet.id);
        self.order.push_back((fact.packet.at_ns, key));
        self.by_query.entry(key).or_default().push(fact);
        if self.order.len() > MAX_FACTS { self.forget_oldest() } else { None }
    }

    pub(crate) fn forget(&mut self, before_ns: u64) {
        while self.order.front().is_some_and(|(at_ns, _)| *at_ns < before_ns) {
            self.forget_oldest();
        }
    }

    /// Returns the time of the fact, unless it had been taken before.
    fn forget_oldest(&mut self) -> Option<u64> {
        let (at_ns, key) = self.order.pop_front()?;
        let facts = self.by_query.get_mut(&key)?;
        let before = facts.len();
        facts.retain(|fact| fact.packet.at_ns > at_ns);
        let forgotten = facts.len() < before;
        if facts.is_empty() {
            self.by_query.remove(&key);
        }
        forgotten.then_some(at_ns)
    }

    /// How many facts are kept, and how many are noted as to be forgotten.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.by_query.values().map(Vec::len).sum(), self.order.len())
    }

    /// Takes out the facts about a query between its sending and `until_ns`,
    /// in order of time: one packet's fate explains one query only.
    ///
    /// Behind a translation that no conntrack entry on the packet tells of (in
    /// the server's namespace), the address that was asked is known only from
    /// another fact's entry. Where it stays unknown, an answer may be anybody's
    /// and a query's packet belongs to the query only when none names it
    /// exactly: a resolver that asks several servers gives all the same id.
    pub(crate) fn take(&mut self, query: &QuerySeen, until_ns: u64) -> Vec<Fact> {
        // Every fact is about a datagram.
        if query.transport != Transport::Udp {
            return Vec::new();
        }
        let key = (query.id.client, query.id.id);
        let Some(all) = self.by_query.remove(&key) else { return Vec::new() };
        let in_time =
            |fact: &Fact| fact.packet.at_ns >= query.start_ns && fact.packet.at_ns < until_ns;
        let exact = |fact: &Fact| fact.packet.server() == query.id.server;
        let any_exact =
            all.iter().any(|fact| in_time(fact) && exact(fact) && !fact.packet.is_answer);
        let translations = translations(&all);
        let (mut taken, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|fact| {
            in_time(fact)
                && match asked(fact, &translations) {
                    Some(server) => server == query.id.server,
                    None => exact(fact) || fact.packet.is_answer || !any_exact,
                }
        });
        if !left.is_empty() {
            self.by_query.insert(key, left);
        }
        // One processor's facts come in order; between processors only time
        // tells.
        taken.sort_by_key(|fact| (fact.packet.at_ns, fact.packet.cpu));
        taken
    }
}

/// Where the client's flows were translated to, as far as clashes tell, as
/// (backend, server) pairs. Of the colliding packets the first goes on, and the
/// second if the clash was resolved; other facts end their packet.
fn translations(facts: &[Fact]) -> Vec<(SocketAddr, SocketAddr)> {
    let mut pairs = Vec::new();
    for fact in facts {
        let FactKind::Clash { winner, resolved, .. } = &fact.kind else { continue };
        let own = fact.packet.conntrack.as_ref().filter(|_| *resolved);
        let entries = own.into_iter().chain([winner]);
        let same_client = entries.filter(|e| e.original.source == fact.packet.client());
        pairs.extend(same_client.map(|e| (e.reply.source, e.original.destination)));
    }
    pairs
}

/// The server that was asked, where it is certain.
fn asked(fact: &Fact, translations: &[(SocketAddr, SocketAddr)]) -> Option<SocketAddr> {
    let packet = &fact.packet;
    let server = packet.server();
    if packet.query.is_some() || packet.query_entry().is_some() {
        return Some(server);
    }
    let mut behind = translations.iter().filter(|(backend, _)| *backend == server);
    let (_, first) = behind.next()?;
    behind.all(|(_, other)| other == first).then_some(*first)
}
