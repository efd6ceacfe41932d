//! What the kernel reported, in the engine's terms. Everything an engine
//! result is made of passes through here.

use std::net::SocketAddr;

use dnsprobe_common::flow::{Role, Transport};
use serde::{Deserialize, Serialize};

use super::ConnectSeen;
use crate::{
    dns::{Question, Record},
    identity::OwnerKey,
};

/// A tuple: sender and receiver of one direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tuple {
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
}

impl std::fmt::Display for Tuple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "udp {} -> {}", self.source, self.destination)
    }
}

/// A conntrack entry at the moment of the observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackEntry {
    /// Original direction: client and server before translation.
    pub original: Tuple,
    /// Reply direction.
    pub reply: Tuple,
    /// `enum ip_conntrack_status` bits.
    pub status: u32,
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Interface index in its namespace.
    pub ifindex: u32,
    /// Inode of its network namespace.
    pub netns: u32,
    /// Its name, where it is in dnsprobe's own namespace.
    pub name: Option<String>,
    /// Whether what it transmits leaves this machine.
    pub leaves_node: bool,
}

/// What identifies a query on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QueryId {
    /// Who asked.
    pub client: SocketAddr,
    /// Who was asked, before translation.
    pub server: SocketAddr,
    /// DNS transaction id.
    pub id: u16,
}

/// A query's packet as it left, behind every translation on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Translation {
    /// Who asks whom now.
    pub tuple: Tuple,
    /// Whether conntrack took it for a packet of a flow that was there before.
    pub established: bool,
    /// Whether the service's rules still lead to that server, read when the
    /// query had waited in vain.
    pub backend: BackendState,
}

/// Whether a service still has a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackendState {
    /// The rules name it.
    Listed,
    /// All rules were read, and none names it.
    Gone,
    /// IPVS lists it with weight 0: for old connections only.
    Draining,
    /// Not asked, or the rules could not be read.
    #[default]
    Unknown,
}

impl BackendState {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Gone => "gone",
            Self::Draining => "draining",
            Self::Unknown => "unknown",
        }
    }
}

/// A query at a server on this node that did not answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtServer {
    /// Whose server.
    pub owner: OwnerKey,
    /// When the query was put on its socket, kernel nanoseconds.
    pub queued_ns: u64,
    /// When the server read it; `None`: never.
    pub read_ns: Option<u64>,
}

/// A query as the kernel programs followed it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QuerySeen {
    /// Which.
    pub id: QueryId,
    /// What carried it.
    #[serde(with = "super::by_number::transport")]
    pub transport: Transport,
    /// Which end of the transaction.
    #[serde(with = "super::by_number::role")]
    pub role: Role,
    /// Who it belongs to.
    pub owner: OwnerKey,
    /// The socket, as an opaque number; 0: unknown.
    pub socket: u64,
    /// When it was sent (client) or queued (server), kernel nanoseconds.
    pub start_ns: u64,
    /// When its answer was queued (client) or it was read (server).
    pub middle_ns: Option<u64>,
    /// The answer's header flags.
    pub answer_flags: Option<u16>,
    /// The first record behind the answer's question, when it was kept.
    pub answer: Option<Record>,
    /// The last device that transmitted it, and when.
    pub device: Option<(Device, u64)>,
    /// The packet as that device took it.
    pub translation: Option<Translation>,
    /// What became of it at a server on this node, when nothing came back.
    pub at_server: Option<AtServer>,
    /// When the same socket got an answer with the same id from another
    /// server.
    pub other_answer_ns: Option<u64>,
    /// Its question, when it was kept.
    pub question: Option<Question>,
    /// Command of the process, when it was kept.
    pub command: Option<String>,
}

/// A DNS packet seen where something happened to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PacketSeen {
    /// When, kernel nanoseconds.
    pub at_ns: u64,
    /// On which processor.
    pub cpu: u32,
    /// Addresses as they stood in the packet.
    pub tuple: Tuple,
    /// DNS transaction id.
    pub id: u16,
    /// Whether it was an answer.
    pub is_answer: bool,
    /// Its conntrack entry.
    pub conntrack: Option<ConntrackEntry>,
    /// Who sent or received it, where a socket was known.
    pub owner: Option<OwnerKey>,
    /// Its device, where it had one.
    pub device: Option<Device>,
    /// The query in flight it belongs to.
    pub query: Option<QuerySeen>,
    /// Its question.
    pub question: Option<Question>,
}

impl PacketSeen {
    /// The entry, unless an answer came in as a flow of its own: then it is
    /// not the entry of the query.
    pub(super) fn query_entry(&self) -> Option<&ConntrackEntry> {
        self.conntrack
            .as_ref()
            .filter(|entry| !self.is_answer || entry.original.destination != self.tuple.destination)
    }

    /// The asking side before translation.
    #[must_use]
    pub fn client(&self) -> SocketAddr {
        match (self.query_entry(), self.is_answer) {
            (Some(entry), _) => entry.original.source,
            (None, false) => self.tuple.source,
            (None, true) => self.tuple.destination,
        }
    }

    /// The asked side, as far as the packet and its entry know.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        match (self.query_entry(), self.is_answer) {
            (Some(entry), _) => entry.original.destination,
            (None, false) => self.tuple.destination,
            (None, true) => self.tuple.source,
        }
    }
}

impl PacketSeen {
    /// The query of a packet that no hook has seen being sent.
    #[must_use]
    pub fn unseen_query(&self, owner: OwnerKey) -> QuerySeen {
        QuerySeen {
            id: QueryId { client: self.client(), server: self.server(), id: self.id },
            transport: Transport::Udp,
            role: Role::Client,
            owner,
            socket: 0,
            start_ns: self.at_ns,
            middle_ns: None,
            answer_flags: None,
            answer: None,
            device: None,
            translation: None,
            at_server: None,
            other_answer_ns: None,
            question: self.question.clone(),
            command: None,
        }
    }
}

/// A receive queue without room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueFull {
    /// Whose socket.
    pub owner: OwnerKey,
    /// Memory in use, bytes.
    pub used_bytes: u32,
    /// The socket's receive buffer, bytes.
    pub buffer_bytes: u32,
}

/// An IPVS real server as a connection names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Its address.
    pub address: SocketAddr,
    /// Whether the service still lists it.
    pub available: bool,
    /// Its weight, where it is known.
    pub weight: Option<i32>,
}

/// The part of the kernel that dropped a packet, as far as its reason or, before
/// there were reasons, its place says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DroppedBy {
    /// A netfilter hook.
    Netfilter,
    /// UDP found no socket.
    NoSocket,
    /// A tc filter or action, a queueing discipline, or another BPF program of
    /// the data path.
    TrafficControl,
    /// A processor's backlog was full.
    Backlog,
    /// Routing found no way.
    Routing,
    /// IPVS could not send it on to its real server.
    IpvsTransmit,
    /// The next hop's link-layer address could not be found out.
    Neighbour,
    /// The packet was not valid there.
    Validation,
    /// UDP's receive function, which gave no reason.
    UdpReceive,
    /// Something else, or not known.
    Other,
}

/// What happened to a packet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FactKind {
    /// The kernel dropped it.
    Drop {
        /// The kernel's name of the reason, without its prefix.
        reason: Option<String>,
        /// Function and offset that freed it.
        location: String,
        /// The functions that called that one, inner first.
        callers: Vec<String>,
        /// Which part of the kernel decided it.
        by: DroppedBy,
        /// When conntrack failed to make room for its entry.
        table_full_ns: Option<u64>,
        /// The receive queue it did not fit into.
        queue_full: Option<QueueFull>,
    },
    /// An ICMP error answered it.
    Unreachable {
        /// ICMP type.
        icmp_type: u32,
        /// ICMP code.
        icmp_code: u32,
    },
    /// Its new conntrack entry collided with another.
    Clash {
        /// The entry that was first.
        winner: ConntrackEntry,
        /// The query that made that entry, where it is remembered.
        winner_query: Option<Box<QuerySeen>>,
        /// Whether the packet was kept.
        resolved: bool,
        /// Whether an IPVS service was asked.
        ipvs: bool,
    },
    /// Conntrack dropped it when its entry should have been put in the table.
    ConfirmDrop,
    /// IPVS dropped it.
    IpvsDrop {
        /// The real server its connection points to.
        backend: Option<Backend>,
        /// Whether the service had none for it.
        no_backend: bool,
    },
    /// IPVS sent it to a real server of weight 0.
    IpvsDraining {
        /// That real server.
        backend: Backend,
    },
    /// Masquerading found no source address for it.
    NatDrop,
    /// The send call returned an error.
    SendFailed {
        /// The error's number, positive.
        errno: i32,
    },
    /// A socket got an answer that nobody there waits for.
    Stray {
        /// Whether it came from the address of an IPVS service.
        from_ipvs: bool,
    },
}

/// One thing that happened to one DNS packet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fact {
    /// The packet.
    pub packet: PacketSeen,
    /// What happened.
    pub kind: FactKind,
}

/// Why a query counts as unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unanswered {
    /// No answer within the set time.
    Expired,
    /// The same query was sent again, at that kernel time.
    SentAgain(u64),
    /// It was dropped before any hook saw it being sent.
    NeverSent,
    /// The same socket sent another question with the same id to the same
    /// server; whose answer comes then cannot be told.
    Overtaken,
}

/// What the kernel room hands to the engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Observation {
    /// A transaction ended with an answer.
    Transaction {
        /// The query, its answer flags set.
        query: QuerySeen,
        /// When the answer was read (client) or sent (server); `None` when it
        /// was not seen to be read.
        end_ns: Option<u64>,
    },
    /// A query got no answer.
    Unanswered {
        /// The query.
        query: QuerySeen,
        /// How that is known.
        how: Unanswered,
    },
    /// A TCP connection to a DNS port was not made.
    ConnectFailed(Box<ConnectSeen>),
    /// Something happened to a packet.
    Fact(Box<Fact>),
    /// The node's count of packets that conntrack dropped for a long hash chain.
    ChainTooLong {
        /// When it was read.
        at_ns: u64,
        /// The count, since the node started.
        packets: u64,
    },
    /// Every conntrack entry that was not confirmed yet became invalid.
    ConntrackPurge {
        /// When.
        at_ns: u64,
        /// Command of the process that asked for it.
        command: Option<String>,
    },
}
