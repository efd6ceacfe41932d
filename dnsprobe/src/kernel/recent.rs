//! The latest queries of a flow, for naming the other side of a clash: a
//! conntrack entry knows addresses and ports but no DNS id.

use std::borrow::Borrow;

use aya::maps::{HashMap, MapData};
use dnsprobe_common::{
    event::{Answer, Recent, Sent},
    flow::{QueryKey, Role, Tuple, is_namespace_local},
};

use super::decode;
use crate::{
    engine::{QueryId, QuerySeen},
    identity::OwnerKey,
};

/// The query of `flow` that was sent last before `before_ns`, other than the
/// one with id `not`; `None` when it is not remembered.
pub(crate) fn query<F, S>(
    flows: &HashMap<F, Tuple, Recent>,
    sent: &HashMap<S, QueryKey, Sent>,
    flow: &Tuple,
    before_ns: u64,
    not: u16,
) -> Option<QuerySeen>
where
    F: Borrow<MapData>,
    S: Borrow<MapData>,
{
    // The key of an address that is only unique in its namespace cannot be
    // made from a conntrack entry; such flows are not translated between
    // namespaces either.
    if is_namespace_local(&flow.source) {
        return None;
    }
    let recent = flows.get(flow, 0).ok()?;
    let id = last_before(&recent, before_ns, not)?;
    let key = QueryKey {
        client: flow.source,
        server: flow.destination,
        client_port: flow.source_port,
        server_port: flow.destination_port,
        id,
        role: Role::Client as u8,
        pad: 0,
        netns: 0,
    };
    let sent = sent.get(&key, 0).ok()?;
    Some(QuerySeen {
        id: QueryId {
            client: decode::socket(&flow.source, flow.source_port),
            server: decode::socket(&flow.destination, flow.destination_port),
            id,
        },
        role: Role::Client,
        owner: OwnerKey { cgroup: sent.cgroup, netns: sent.netns, tgid: sent.tgid },
        socket: sent.socket,
        start_ns: sent.at_ns,
        middle_ns: None,
        answer_flags: None,
        device: None,
        other_answer_ns: None,
        question: decode::question(&sent.question),
        command: decode::command(&sent.command),
    })
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

fn last_before(recent: &Recent, before_ns: u64, not: u16) -> Option<u16> {
    recent
        .at_ns
        .iter()
        .zip(recent.ids)
        .filter(|(at_ns, id)| **at_ns != 0 && **at_ns <= before_ns && *id != not)
        .max_by_key(|(at_ns, _)| **at_ns)
        .map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_other_query_before_the_clash_is_taken() {
        let recent = Recent { at_ns: [10, 30, 20, 0], ids: [1, 2, 3, 4], count: 3 };
        assert_eq!(last_before(&recent, 25, 9), Some(3));
        assert_eq!(last_before(&recent, 40, 2), Some(3));
        assert_eq!(last_before(&recent, 5, 9), None);
    }
}
