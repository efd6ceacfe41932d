//! What became of an unanswered query at a server on this node: joins the two
//! ends of a transaction, which the kernel programs follow apart.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use dnsprobe_common::flow::{
    Address, InFlight, QueryKey, Role, Transport, is_namespace_local, state,
};

use crate::engine::{AtServer, Observation, QuerySeen, Unanswered};

/// How long a query that was sent again is kept before it is handed on: the
/// second one reaches a server on this node, and ends the first one there, in
/// far less.
const HOLD: Duration = Duration::from_millis(100);

/// How many are held, and how many silent servers are remembered; the oldest go
/// first.
const KEPT: usize = 4_096;

/// Queries that were sent again, waiting for word of the first one's end at the
/// server.
#[derive(Default)]
pub(crate) struct SentAgain {
    held: VecDeque<Held>,
    silent: VecDeque<(QueryKey, AtServer)>,
}

/// One of them.
pub(crate) struct Held {
    query: QuerySeen,
    how: Unanswered,
    /// The key its server end would have.
    key: QueryKey,
    since: Instant,
}

impl From<Held> for Observation {
    fn from(held: Held) -> Self {
        Self::Unanswered { query: held.query, how: held.how }
    }
}

impl SentAgain {
    /// Holds a client's query. Returns the oldest when there are too many.
    pub(crate) fn hold(
        &mut self,
        query: QuerySeen,
        how: Unanswered,
        key: QueryKey,
    ) -> Option<Held> {
        self.held.push_back(Held { query, how, key, since: Instant::now() });
        if self.held.len() > KEPT { self.held.pop_front() } else { None }
    }

    /// Remembers a query that came to a server again before it had answered.
    pub(crate) fn silent(&mut self, key: QueryKey, query: &QuerySeen) {
        if self.silent.len() == KEPT {
            self.silent.pop_front();
        }
        self.silent.push_back((key, at_server(query)));
    }

    /// The next one that has been held long enough, with what is known of its
    /// server end. `last`: there will be no later.
    pub(crate) fn next(&mut self, last: bool) -> Option<Held> {
        if !last && self.held.front()?.since.elapsed() < HOLD {
            return None;
        }
        let mut held = self.held.pop_front()?;
        let until_ns = match held.how {
            Unanswered::SentAgain(at_ns) => at_ns,
            Unanswered::Expired | Unanswered::NeverSent | Unanswered::Overtaken => u64::MAX,
        };
        let found = self.silent.iter().position(|(key, at)| {
            *key == held.key && (held.query.start_ns..until_ns).contains(&at.queued_ns)
        });
        held.query.at_server = found.and_then(|index| self.silent.remove(index)).map(|(_, at)| at);
        Some(held)
    }
}

/// The key of a client's query at the server it left for.
pub(crate) fn server_key(key: &QueryKey, query: &InFlight) -> QueryKey {
    const NOWHERE: Address = [0; 4];
    let mut server = QueryKey { role: Role::Server as u8, ..*key };
    if query.left_as.source != NOWHERE {
        server.client = query.left_as.source;
        server.client_port = query.left_as.source_port;
        server.server = query.left_as.destination;
        server.server_port = query.left_as.destination_port;
    }
    server.netns = if is_namespace_local(&server.client) { query.netns } else { 0 };
    server
}

/// Whether `other` is the server's end of a client's query over TCP. Segments are
/// not followed, so a service's translation of the server is not known: the
/// client's address, port and id have to do.
pub(crate) fn is_same_over_tcp(key: &QueryKey, other: &QueryKey) -> bool {
    is_over_tcp(other)
        && (other.id, other.client_port, other.client) == (key.id, key.client_port, key.client)
        && other.netns == key.netns
}

/// Whether it is a server's end of a query over TCP.
pub(crate) fn is_over_tcp(key: &QueryKey) -> bool {
    key.role == Role::Server as u8 && key.transport == Transport::Tcp as u8
}

/// What a server's end of a query says, unless it answered.
pub(crate) fn at_server(query: &QuerySeen) -> AtServer {
    AtServer { owner: query.owner, queued_ns: query.start_ns, read_ns: query.middle_ns }
}

/// Whether a server's end is of a query sent at that time, and without answer.
pub(crate) fn is_silent(at_server: &InFlight, sent_ns: u64) -> bool {
    at_server.state == state::SENT && at_server.start_ns >= sent_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_end_over_tcp_is_known_by_the_clients_address_port_and_id() {
        let client = QueryKey {
            client: [1, 2, 3, 4],
            client_port: 40_000,
            server: [9; 4],
            id: 7,
            transport: Transport::Tcp as u8,
            ..QueryKey::default()
        };
        let server = QueryKey { server: [8; 4], role: Role::Server as u8, ..client };
        assert!(is_same_over_tcp(&client, &server));
        assert!(!is_same_over_tcp(&client, &client));
        for other in [
            QueryKey { id: 8, ..server },
            QueryKey { client_port: 1, ..server },
            QueryKey { client: [0; 4], ..server },
            QueryKey { transport: Transport::Udp as u8, ..server },
            QueryKey { netns: 5, ..server },
        ] {
            assert!(!is_same_over_tcp(&client, &other), "{other:?}");
        }
    }
}
