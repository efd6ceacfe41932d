//! The latest queries of a flow, for naming the other side of a clash: a
//! conntrack entry knows addresses and ports but no DNS id.

use std::borrow::Borrow;

use aya::maps::{HashMap, MapData};
use dnsprobe_common::{
    event::{Answer, Question, RECENT, Recent, Sent},
    flow::{QueryKey, Role, Transport, Tuple, command_bytes, is_namespace_local},
};

use super::decode;
use crate::{
    engine::{QueryId, QuerySeen},
    identity::OwnerKey,
};

/// How far back the query is looked for that made an entry which is new at the
/// time of a clash. Long beyond any time in a queue on the way.
const BURST_NS: u64 = 5_000_000_000;

/// What is remembered of queries that were sent a short while ago.
pub(crate) trait Remembered {
    /// The query that made the conntrack entry of `flow`, which clashed at
    /// `at_ns`: the first of the flow in that burst. `loser` is the id of the
    /// clashing query itself when it is of the same flow. `None` when it is not
    /// remembered, or when there were too many to know which was the first.
    fn creator(&self, flow: &Tuple, at_ns: u64, loser: Option<u16>) -> Option<QuerySeen>;

    /// The command that sent a query; `None` when it is not remembered.
    fn command(&self, key: &QueryKey, sent_ns: u64) -> Option<String>;

    /// The question of a query, with what stood behind it; `None` when it is not
    /// remembered.
    fn question(&self, key: &QueryKey, sent_ns: u64) -> Option<Question>;
}

/// The maps that remember.
pub(crate) struct RecentQueries<'a> {
    pub(crate) flows: &'a HashMap<MapData, Tuple, Recent>,
    pub(crate) sent: &'a HashMap<MapData, QueryKey, Sent>,
}

impl Remembered for RecentQueries<'_> {
    fn creator(&self, flow: &Tuple, at_ns: u64, loser: Option<u16>) -> Option<QuerySeen> {
        // The key of an address that is only unique in its namespace cannot be
        // made from a conntrack entry; such flows are not translated between
        // namespaces either.
        if is_namespace_local(&flow.source) {
            return None;
        }
        let recent = self.flows.get(flow, 0).ok()?;
        let id = first_of_burst(&recent, at_ns, loser)?;
        let key = decode::query_key(flow, id, 0);
        let sent = self.sent.get(&key, 0).ok()?;
        Some(QuerySeen {
            id: QueryId {
                client: decode::socket(&flow.source, flow.source_port),
                server: decode::socket(&flow.destination, flow.destination_port),
                id,
            },
            transport: Transport::Udp,
            role: Role::Client,
            owner: OwnerKey {
                cgroup: sent.cgroup,
                netns: sent.netns,
                tgid: sent.tgid,
                command: command_bytes(sent.command),
            },
            socket: sent.socket,
            start_ns: sent.at_ns,
            middle_ns: None,
            answer_flags: None,
            answer: None,
            exchange: None,
            device: None,
            translation: None,
            at_server: None,
            other_answer_ns: None,
            question: decode::question(&sent.question),
            command: decode::command(sent.command),
        })
    }

    fn command(&self, key: &QueryKey, sent_ns: u64) -> Option<String> {
        decode::command(self.sent(key, sent_ns)?.command)
    }

    fn question(&self, key: &QueryKey, sent_ns: u64) -> Option<Question> {
        Some(self.sent(key, sent_ns)?.question)
    }
}

impl RecentQueries<'_> {
    /// The query with this key, unless a later one took its place.
    fn sent(&self, key: &QueryKey, sent_ns: u64) -> Option<Sent> {
        self.sent.get(key, 0).ok().filter(|sent| sent.at_ns == sent_ns)
    }
}

/// How long before a query another server may have answered it already: the
/// resolver was still sending it to the next one.
const BEFORE_NS: u64 = 1_000_000_000;

/// When another server's answer to the same question reached the asking
/// socket: a resolver that asks several servers at once sends them all the
/// same id.
pub(crate) fn other_answer_ns<A: Borrow<MapData>>(
    answered: &HashMap<A, QueryKey, Answer>,
    key: &QueryKey,
    sent_ns: u64,
) -> Option<u64> {
    let question = QueryKey { server: [0; 4], server_port: 0, ..*key };
    let answer = answered.get(&question, 0).ok()?;
    let other = (answer.server, answer.server_port) != (key.server, key.server_port);
    (other && answer.at_ns + BEFORE_NS >= sent_ns).then_some(answer.at_ns)
}

/// The earliest query in the burst before `at_ns`, other than the loser. When
/// the memory holds nothing older than the burst and is full, an even earlier
/// one may have been pushed out.
fn first_of_burst(recent: &Recent, at_ns: u64, loser: Option<u16>) -> Option<u16> {
    let in_burst = |sent_ns: u64| sent_ns <= at_ns && sent_ns + BURST_NS >= at_ns && sent_ns != 0;
    if recent.at_ns.iter().all(|sent_ns| in_burst(*sent_ns)) && recent.count > RECENT as u64 {
        return None;
    }
    recent
        .at_ns
        .iter()
        .zip(recent.ids)
        .filter(|(sent_ns, id)| in_burst(**sent_ns) && Some(*id) != loser)
        .min_by_key(|(sent_ns, _)| **sent_ns)
        .map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn recent(at_s: [u64; 4], count: u64) -> Recent {
        Recent { at_ns: at_s.map(|s| s * S), ids: [1, 2, 3, 4], count }
    }

    #[test]
    fn the_first_other_query_of_the_burst_made_the_entry() {
        let recent = recent([100, 102, 101, 0], 3);
        assert_eq!(first_of_burst(&recent, 103 * S, None), Some(1));
        assert_eq!(first_of_burst(&recent, 103 * S, Some(1)), Some(3));
        assert_eq!(first_of_burst(&recent, 99 * S, None), None);
    }

    #[test]
    fn what_was_sent_long_before_the_clash_did_not_make_a_new_entry() {
        assert_eq!(first_of_burst(&recent([10, 102, 0, 0], 2), 103 * S, None), Some(2));
    }

    #[test]
    fn when_the_first_may_have_been_forgotten_none_is_named() {
        assert_eq!(first_of_burst(&recent([101, 101, 102, 102], 9), 103 * S, None), None);
        assert_eq!(first_of_burst(&recent([101, 101, 102, 102], 4), 103 * S, None), Some(1));
        assert_eq!(first_of_burst(&recent([90, 101, 102, 102], 9), 103 * S, None), Some(2));
    }
}
