//! Queries and facts made by hand, as the kernel room would report them.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use dnsprobe_common::flow::{Role, Transport};

use super::{
    AtServer, Backend, BackendState, Blindness, Cause, ConntrackEntry, Device, DroppedBy, Engine,
    Fact, FactKind, Observation, Outcome, PacketSeen, QueryId, QuerySeen, QueueFull, Translation,
    Tuple, Unanswered, Verdict,
    node_history::NodeHistory,
    rules::{self, Decision, Timeline},
};
use crate::{
    dns::{QType, Question},
    identity::{Identify, Owner, OwnerKey, UnattributedReason},
    time::Clock,
};

pub(super) const MS: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000_000_000;
/// When queries made here are sent.
pub(super) const SENT: u64 = 10 * SECOND;
/// The DNS id of queries made here.
pub(super) const ID: u16 = 4660;

/// `nf_conn.status` of a flow that a rule in FORWARD sees, and of one at its
/// confirmation (measured).
pub(super) const BEFORE_SOURCE_NAT: u32 = 0x120;
pub(super) const AFTER_SOURCE_NAT: u32 = 0x1a0;
pub(super) const CONFIRMED: u32 = 0x1a8;

pub(super) fn client() -> SocketAddr {
    SocketAddr::from(([10, 244, 0, 11], 40_000))
}

/// Service addresses.
pub(super) fn service(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 96, 0, last], 53))
}

/// Server pods behind them.
pub(super) fn backend(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 244, 0, last], 53))
}

pub(super) fn tuple(source: SocketAddr, destination: SocketAddr) -> Tuple {
    Tuple { source, destination }
}

pub(super) fn question(name: &str, qtype: QType) -> Question {
    Question { name: name.parse().unwrap(), qtype }
}

/// The asking pod.
pub(super) const ASKER: OwnerKey =
    OwnerKey { cgroup: 11, netns: 4011, tgid: 123, command: [0; 16] };

/// A query of the asking pod to the first service address.
pub(crate) fn query() -> QuerySeen {
    query_to(service(10))
}

pub(super) fn query_to(server: SocketAddr) -> QuerySeen {
    QuerySeen {
        id: QueryId { client: client(), server, id: ID },
        transport: Transport::Udp,
        role: Role::Client,
        owner: ASKER,
        socket: 0xffff_8880_0000_1000,
        start_ns: SENT,
        middle_ns: None,
        answer_flags: None,
        answer: None,
        device: None,
        translation: None,
        at_server: None,
        other_answer_ns: None,
        question: Some(question("race.test.svc.", QType::A)),
        command: Some("dnsq".to_owned()),
    }
}

pub(super) fn device(leaves_node: bool) -> Device {
    Device { ifindex: 3, netns: 4000, name: Some("eth0".to_owned()), leaves_node }
}

/// A conntrack entry of the client's flow: asked here, translated there.
pub(super) fn entry(server: SocketAddr, behind: SocketAddr) -> ConntrackEntry {
    ConntrackEntry {
        original: tuple(client(), server),
        reply: tuple(behind, client()),
        status: AFTER_SOURCE_NAT,
    }
}

/// A fact about the query's packet on its way to the first service address,
/// one millisecond after it was sent.
pub(crate) fn fact(kind: FactKind) -> Fact {
    Fact {
        packet: PacketSeen {
            at_ns: SENT + MS,
            cpu: 1,
            tuple: tuple(client(), service(10)),
            id: ID,
            is_answer: false,
            conntrack: None,
            owner: None,
            device: None,
            query: None,
            question: None,
        },
        kind,
    }
}

/// As [`fact`], about an answer from an address.
pub(super) fn answer_fact(kind: FactKind, from: SocketAddr) -> Fact {
    let mut fact = fact(kind);
    fact.packet.tuple = tuple(from, client());
    fact.packet.is_answer = true;
    fact
}

impl Fact {
    pub(super) fn at(mut self, at_ns: u64) -> Self {
        self.packet.at_ns = at_ns;
        self
    }

    /// Its destination, where no translation is known.
    pub(super) fn to(mut self, destination: SocketAddr) -> Self {
        self.packet.tuple.destination = destination;
        self
    }

    /// With the entry of a flow to a service address that is translated.
    pub(super) fn tracked(mut self, server: SocketAddr, behind: SocketAddr) -> Self {
        self.packet.conntrack = Some(entry(server, behind));
        self
    }

    pub(super) fn status(mut self, status: u32) -> Self {
        self.packet.conntrack =
            self.packet.conntrack.map(|entry| ConntrackEntry { status, ..entry });
        self
    }

    pub(super) fn owned(mut self) -> Self {
        self.packet.owner = Some(OwnerKey { tgid: 0, ..ASKER });
        self
    }

    /// With the query in flight that the kernel found for it.
    pub(super) fn followed(mut self) -> Self {
        self.packet.query = Some(query_to(self.packet.server()));
        self
    }
}

pub(super) fn drop_by(by: DroppedBy, reason: &str, location: &str) -> FactKind {
    FactKind::Drop {
        reason: Some(reason.to_owned()),
        location: location.to_owned(),
        callers: Vec::new(),
        by,
        table_full_ns: None,
        queue_full: None,
    }
}

pub(super) fn netfilter_drop() -> FactKind {
    drop_by(DroppedBy::Netfilter, "NETFILTER_DROP", "nf_hook_slow+0xa5")
}

pub(super) fn no_socket() -> FactKind {
    drop_by(DroppedBy::NoSocket, "NO_SOCKET", "__udp4_lib_rcv+0x9f1")
}

pub(super) fn device_queue_drop() -> FactKind {
    drop_by(DroppedBy::TrafficControl, "QDISC_DROP", "__dev_queue_xmit+0x7d1")
}

/// An answer that nobody waits for.
pub(super) const STRAY: FactKind = FactKind::Stray { from_ipvs: false };

/// A drop that says nothing.
pub(super) fn unknown_drop() -> FactKind {
    drop_by(DroppedBy::Other, "SOMETHING", "skb_release+0x1")
}

pub(super) fn table_full() -> FactKind {
    FactKind::Drop {
        reason: Some("NETFILTER_DROP".to_owned()),
        location: "nf_hook_slow+0xa5".to_owned(),
        callers: Vec::new(),
        by: DroppedBy::Netfilter,
        table_full_ns: Some(SENT + MS - 2_500),
        queue_full: None,
    }
}

pub(super) fn queue_full(used_bytes: u32, buffer_bytes: u32) -> FactKind {
    let owner = OwnerKey { cgroup: 22, netns: 4022, tgid: 0, command: [0; 16] };
    FactKind::Drop {
        reason: Some("SOCKET_RCVBUFF".to_owned()),
        location: "udp_queue_rcv_one_skb+0x361".to_owned(),
        callers: Vec::new(),
        by: DroppedBy::Other,
        table_full_ns: None,
        queue_full: Some(QueueFull { owner, used_bytes, buffer_bytes }),
    }
}

pub(super) const PORT_UNREACHABLE: FactKind = FactKind::Unreachable { icmp_type: 3, icmp_code: 3 };

pub(super) fn ipvs_drop(available: bool) -> FactKind {
    let weight = Some(i32::from(available));
    let backend = Some(Backend { address: backend(3), available, weight });
    FactKind::IpvsDrop { backend, no_backend: false }
}

/// IPVS dropped it, and nothing is known of a connection.
pub(super) const UNKNOWN_IPVS_DROP: FactKind =
    FactKind::IpvsDrop { backend: None, no_backend: false };

/// The query went to a real server of weight 0.
pub(super) fn draining(last: u8) -> Fact {
    let backend = Backend { address: backend(last), available: true, weight: Some(0) };
    fact(FactKind::IpvsDraining { backend })
}

/// The query left in an older flow, translated to a backend.
pub(super) fn left_as(last: u8, state: BackendState) -> Translation {
    Translation { tuple: tuple(client(), backend(last)), established: true, backend: state }
}

/// A server on this node queued and read the query.
pub(super) fn at_server() -> AtServer {
    let owner = OwnerKey { cgroup: 33, netns: 4033, tgid: 0, command: [0; 16] };
    AtServer { owner, queued_ns: SENT + MS, read_ns: Some(SENT + 2 * MS) }
}

/// A clash with the flow of another query, and the fact's own translation.
pub(super) fn clash(resolved: bool, winner: ConntrackEntry, other: Option<QuerySeen>) -> Fact {
    let kind = FactKind::Clash { winner, winner_query: other.map(Box::new), resolved, ipvs: false };
    fact(kind).tracked(service(10), backend(2))
}

/// The A/AAAA race to one service address with two backends.
pub(super) fn resolved_clash() -> Fact {
    clash(true, entry(service(10), backend(3)), None)
}

/// The collision of two reply tuples.
pub(super) fn lost_clash() -> Fact {
    clash(false, entry(service(11), backend(2)), None)
}

/// One lost query and all that is known of it.
pub(super) struct Case {
    pub(super) query: QuerySeen,
    pub(super) facts: Vec<Fact>,
    pub(super) blindness: Blindness,
    pub(super) events_lost_ns: Option<u64>,
    pub(super) history: NodeHistory,
}

impl Case {
    /// A query with these facts and every hook attached.
    pub(super) fn of(facts: impl IntoIterator<Item = Fact>) -> Self {
        Self {
            query: query(),
            facts: facts.into_iter().collect(),
            blindness: Blindness::default(),
            events_lost_ns: None,
            history: NodeHistory::default(),
        }
    }

    pub(super) fn blind(mut self, set: impl FnOnce(&mut Blindness)) -> Self {
        set(&mut self.blindness);
        self
    }

    pub(super) fn events_lost(mut self, at_ns: u64) -> Self {
        self.events_lost_ns = Some(at_ns);
        self
    }

    pub(super) fn timeline(&self) -> Timeline<'_> {
        Timeline {
            query: &self.query,
            facts: &self.facts,
            blindness: &self.blindness,
            events_lost_ns: self.events_lost_ns,
            history: &self.history,
        }
    }

    /// What all rules together make of it.
    pub(super) fn decision(&self) -> Decision {
        rules::decide(&self.timeline())
    }

    pub(super) fn cause(&self) -> Cause {
        self.decision().cause
    }
}

/// Names owners after their cgroup.
pub(super) struct Names;

impl Identify for Names {
    fn owner(&mut self, key: OwnerKey) -> Arc<Owner> {
        Arc::new(match key.cgroup {
            0 => Owner::Unattributed { reason: UnattributedReason::NoCgroup },
            cgroup => Owner::Host { name: format!("cgroup-{cgroup}") },
        })
    }
}

pub(super) fn clock() -> Clock {
    Clock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000), 0)
}

/// An engine with the bookkeeping a test wants to be without.
pub(super) struct Bench(pub(super) Engine);

impl Bench {
    /// Every hook is attached.
    pub(super) fn new() -> Self {
        Self(Engine::new(Blindness::default()))
    }

    pub(super) fn observe(&mut self, observation: Observation) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        self.0.observe(observation, &mut Names, &clock(), &mut |outcome| outcomes.push(outcome));
        outcomes
    }

    pub(super) fn fact(&mut self, fact: Fact) -> Vec<Outcome> {
        self.observe(Observation::Fact(Box::new(fact)))
    }

    pub(super) fn unanswered(&mut self, query: QuerySeen, how: Unanswered) -> Outcome {
        let mut outcomes = self.observe(Observation::Unanswered { query, how });
        assert_eq!(outcomes.len(), 1, "one query, one outcome: {outcomes:?}");
        outcomes.remove(0)
    }

    /// The verdict on a query whose time is over.
    pub(super) fn expire(&mut self, query: QuerySeen) -> Verdict {
        verdict(self.unanswered(query, Unanswered::Expired))
    }
}

pub(super) fn verdict(outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Verdict(verdict) => *verdict,
        other => panic!("no verdict: {other:?}"),
    }
}
