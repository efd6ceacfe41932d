//! What happened to packets, kept until the queries they belong to are
//! decided.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
};

use super::{Fact, QuerySeen};

/// How many facts are kept; the oldest go first. A fact is about half a
/// kibibyte.
const MAX_FACTS: usize = 65_536;

type Key = (SocketAddr, u16);

/// Facts by asking side and DNS id.
#[derive(Default)]
pub(crate) struct Facts {
    by_query: HashMap<Key, Vec<Fact>>,
    order: VecDeque<(u64, Key)>,
}

impl Facts {
    pub(crate) fn add(&mut self, fact: Fact) {
        let key = (fact.packet.client(), fact.packet.id);
        self.order.push_back((fact.packet.at_ns, key));
        self.by_query.entry(key).or_default().push(fact);
        while self.order.len() > MAX_FACTS {
            self.forget_oldest();
        }
    }

    pub(crate) fn forget(&mut self, before_ns: u64) {
        while self.order.front().is_some_and(|(at_ns, _)| *at_ns < before_ns) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((at_ns, key)) = self.order.pop_front() else { return };
        if let Some(facts) = self.by_query.get_mut(&key) {
            facts.retain(|fact| fact.packet.at_ns > at_ns);
            if facts.is_empty() {
                self.by_query.remove(&key);
            }
        }
    }

    /// Takes out the facts about a query between its sending and `until_ns`,
    /// in order of time: one packet's fate explains one query only.
    ///
    /// Behind a translation that no conntrack entry on the packet tells of (in
    /// the server's namespace), the address that was asked is not known; such
    /// a fact belongs to the query only when none names it exactly.
    pub(crate) fn take(&mut self, query: &QuerySeen, until_ns: u64) -> Vec<Fact> {
        let key = (query.id.client, query.id.id);
        let Some(all) = self.by_query.remove(&key) else { return Vec::new() };
        let in_time =
            |fact: &Fact| fact.packet.at_ns >= query.start_ns && fact.packet.at_ns < until_ns;
        let exact = |fact: &Fact| fact.packet.server() == query.id.server;
        let any_exact =
            all.iter().any(|fact| in_time(fact) && exact(fact) && !fact.packet.is_answer);
        let (mut taken, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|fact| {
            in_time(fact)
                && (exact(fact)
                    || fact.packet.is_answer
                    || (!any_exact && fact.packet.conntrack.is_none()))
        });
        if !left.is_empty() {
            self.by_query.insert(key, left);
        }
        taken.sort_by_key(|fact| fact.packet.at_ns);
        taken
    }
}
