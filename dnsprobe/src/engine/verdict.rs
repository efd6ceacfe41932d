//! What the engine decides: one cause, one owner, and the proof.

use std::{net::SocketAddr, sync::Arc};

use dnsprobe_common::flow::Transport;
use serde::Serialize;

use super::{Tuple, connection::serialize_transport};
use crate::{
    dns::Question,
    identity::{Backend, Owner, Remote},
    time::Timestamp,
};

/// Why a query was lost, or nearly. The numbers and names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum Cause {
    /// Two new conntrack entries collided in reply direction; one packet was
    /// dropped.
    ConntrackClash = 100,
    /// Two new conntrack entries collided and the kernel kept both packets.
    ConntrackClashResolved = 101,
    /// The one-second entry of a resolved clash had gone when the answer came.
    ConntrackClashLateAnswer = 102,
    /// No conntrack entry could be allocated: the table is full.
    ConntrackTableFull = 103,
    /// The conntrack hash chain for the entry was over its limit.
    ConntrackChainTooLong = 104,
    /// The entry was invalidated before it could be confirmed.
    ConntrackDying = 105,
    /// Source NAT had nothing to translate the packet to.
    NatPortsExhausted = 106,
    /// An older conntrack entry leads to a backend that is gone.
    StaleNatEntry = 107,
    /// IPVS sent the client's source port to a real server that is gone.
    IpvsStaleBackend = 200,
    /// IPVS keeps sending to a real server of weight 0 that is gone.
    IpvsDeadBackend = 201,
    /// Two flows with one source port met at one IPVS real server.
    IpvsPortConflict = 202,
    /// The IPVS service has no usable real server.
    IpvsNoBackend = 203,
    /// The receiving socket had no room.
    SocketBufferFull = 300,
    /// A processor's packet backlog was full.
    CpuBacklogFull = 301,
    /// A netfilter rule dropped the packet.
    PolicyDrop = 400,
    /// Nothing listens on the address that was asked.
    NoListener = 401,
    /// Traffic control dropped the packet.
    TcDrop = 402,
    /// There is no route to the destination.
    NoRoute = 403,
    /// The next hop's link-layer address could not be found out.
    NeighbourFailed = 404,
    /// The packet was refused as invalid.
    PacketInvalid = 405,
    /// The send call itself failed.
    SendFailed = 406,
    /// The query left this node and nothing came back.
    RemoteSilence = 500,
    /// The answer came when the client had already closed its socket.
    LateAnswer = 501,
    /// A DNS server on this node took the query and never answered.
    ServerSilent = 502,
    /// The answer came from an address that was not asked.
    AnswerMismatch = 503,
    /// Nothing is proven.
    Unexplained = 900,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 26] = [
        Self::ConntrackClash,
        Self::ConntrackClashResolved,
        Self::ConntrackClashLateAnswer,
        Self::ConntrackTableFull,
        Self::ConntrackChainTooLong,
        Self::ConntrackDying,
        Self::NatPortsExhausted,
        Self::StaleNatEntry,
        Self::IpvsStaleBackend,
        Self::IpvsDeadBackend,
        Self::IpvsPortConflict,
        Self::IpvsNoBackend,
        Self::SocketBufferFull,
        Self::CpuBacklogFull,
        Self::PolicyDrop,
        Self::NoListener,
        Self::TcDrop,
        Self::NoRoute,
        Self::NeighbourFailed,
        Self::PacketInvalid,
        Self::SendFailed,
        Self::RemoteSilence,
        Self::LateAnswer,
        Self::ServerSilent,
        Self::AnswerMismatch,
        Self::Unexplained,
    ];

    /// The stable name, as in `docs/causes.md`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConntrackClash => "conntrack-clash",
            Self::ConntrackClashResolved => "conntrack-clash-resolved",
            Self::ConntrackClashLateAnswer => "conntrack-clash-late-answer",
            Self::ConntrackTableFull => "conntrack-table-full",
            Self::ConntrackChainTooLong => "conntrack-chain-too-long",
            Self::ConntrackDying => "conntrack-dying",
            Self::NatPortsExhausted => "nat-ports-exhausted",
            Self::StaleNatEntry => "stale-nat-entry",
            Self::IpvsStaleBackend => "ipvs-stale-backend",
            Self::IpvsDeadBackend => "ipvs-dead-backend",
            Self::IpvsPortConflict => "ipvs-port-conflict",
            Self::IpvsNoBackend => "ipvs-no-backend",
            Self::SocketBufferFull => "socket-buffer-full",
            Self::CpuBacklogFull => "cpu-backlog-full",
            Self::PolicyDrop => "policy-drop",
            Self::NoListener => "no-listener",
            Self::TcDrop => "tc-drop",
            Self::NoRoute => "no-route",
            Self::NeighbourFailed => "neighbour-failed",
            Self::PacketInvalid => "packet-invalid",
            Self::SendFailed => "send-failed",
            Self::RemoteSilence => "remote-silence",
            Self::LateAnswer => "late-answer",
            Self::ServerSilent => "server-silent",
            Self::AnswerMismatch => "answer-mismatch",
            Self::Unexplained => "unexplained",
        }
    }

    /// What happened, for the list of causes.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::ConntrackClash => {
                "Two packets with colliding tuples were both new; the second could not be put into the conntrack table and was dropped."
            }
            Self::ConntrackClashResolved => {
                "The same race, but the kernel kept both packets. A near miss: nothing was lost."
            }
            Self::ConntrackClashLateAnswer => {
                "A resolved clash keeps the loser's entry for one second. The answer took longer, found no translation, reached the pod with the backend's own address and was not accepted."
            }
            Self::ConntrackTableFull => "No conntrack entry could be allocated: the table is full.",
            Self::IpvsStaleBackend => {
                "The client's source port still belongs to an IPVS connection whose real server is gone; IPVS dropped the packet silently."
            }
            Self::SocketBufferFull => "The receiving socket's buffer was full.",
            Self::PolicyDrop => "A netfilter rule dropped the packet.",
            Self::NoListener => "Nothing listens on the address that was asked.",
            Self::RemoteSilence => "The query left this node and no answer came back.",
            Self::LateAnswer => "The answer came after the client had closed its socket.",
            Self::ConntrackChainTooLong => {
                "The hash chain that the packet's conntrack entry belongs to was over its limit; the packet was dropped."
            }
            Self::ConntrackDying => {
                "The packet's conntrack entry was invalidated while the packet was on its way, so it could not be confirmed."
            }
            Self::NatPortsExhausted => {
                "Source NAT found no address or port to translate the packet to and dropped it."
            }
            Self::StaleNatEntry => {
                "The client reuses a source port, and an older conntrack entry for it leads to a backend that the service's rules no longer name."
            }
            Self::IpvsDeadBackend => {
                "The real server is still listed with weight 0 but nothing answers there; IPVS keeps sending UDP of old source ports to it, and every packet keeps the connection alive."
            }
            Self::IpvsPortConflict => {
                "Two flows with the same source port ended at the same real server through IPVS; their reply tuples collide and the second packet was dropped."
            }
            Self::IpvsNoBackend => {
                "The IPVS virtual service has no real server that could take the packet."
            }
            Self::CpuBacklogFull => {
                "A processor's packet backlog was full: the node is overloaded or its limit is too low."
            }
            Self::TcDrop => {
                "A tc filter, a queueing discipline or another BPF program of the data path dropped the packet."
            }
            Self::NoRoute => {
                "There is no route to the packet's destination where it was dropped or should have been sent."
            }
            Self::NeighbourFailed => {
                "The next hop did not answer ARP or neighbour discovery, so the packet was dropped."
            }
            Self::PacketInvalid => {
                "The packet was refused as invalid: checksum, header, size, fragment, or an address that may not come from there."
            }
            Self::SendFailed => "The send call itself returned an error and no packet was made.",
            Self::ServerSilent => "A DNS server on this node took the query and never answered it.",
            Self::AnswerMismatch => {
                "The answer came from an address the client had not asked, so it was not accepted."
            }
            Self::Unexplained => "Nothing is proven.",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::ConntrackClash => {
                "Run a node-local DNS cache. Until then: glibc images, `options single-request-reopen` in resolv.conf; Alpine/musl images, one nameserver or another base image; source NAT, `--random-fully`."
            }
            Self::ConntrackClashResolved => {
                "Nothing to do: it shows how often the race happens. A node-local DNS cache ends it."
            }
            Self::ConntrackClashLateAnswer => {
                "Find out why the server takes over a second; against the race itself, a node-local DNS cache or `options single-request-reopen`."
            }
            Self::ConntrackTableFull => {
                "Raise net.netfilter.nf_conntrack_max (and the hash size), shorten the UDP timeouts, or find the pod that fills the table."
            }
            Self::IpvsStaleBackend => {
                "Set net.ipv4.vs.expire_nodest_conn=1, shorten the IPVS UDP timeout (`ipvsadm --set 0 0 15`), or run a node-local DNS cache."
            }
            Self::SocketBufferFull => {
                "Server side: scale the DNS server or raise net.core.rmem_max/rmem_default. Client side: the process does not read its answers in time."
            }
            Self::PolicyDrop => {
                "Check network policies and iptables/nftables rules for port 53 in the namespace and direction shown."
            }
            Self::NoListener => {
                "The DNS server is down or restarting, or the service still lists its address."
            }
            Self::RemoteSilence => {
                "Check the path and the far end: security group or firewall for UDP 53, the remote node, the upstream resolver."
            }
            Self::LateAnswer => {
                "The server or its upstream is slower than the client waits: compare the latency with the client's timeout."
            }
            Self::ConntrackChainTooLong => {
                "Raise the number of conntrack buckets (/sys/module/nf_conntrack/parameters/hashsize), or find the pod that fills the table."
            }
            Self::ConntrackDying => {
                "A retry is enough. If it happens often, find out what unloads conntrack helpers or NAT modules or deletes timeout policies on this node."
            }
            Self::NatPortsExhausted => {
                "Give source NAT more addresses (masquerading: the outgoing device needs one), put fewer clients behind each, or run a node-local DNS cache."
            }
            Self::StaleNatEntry => {
                "Delete the entry (`conntrack -D -p udp --dport 53 -s CLIENT`) and update kube-proxy, which should do so when an endpoint goes."
            }
            Self::IpvsDeadBackend => {
                "Remove the real server (`ipvsadm -d`), and shorten the IPVS UDP timeout (`ipvsadm --set 0 0 15`)."
            }
            Self::IpvsPortConflict => {
                "Let clients use random source ports; source NAT, `--random-fully`; a node-local DNS cache ends it."
            }
            Self::IpvsNoBackend => {
                "The DNS server pods are not ready: look at them and at the service's endpoints."
            }
            Self::CpuBacklogFull => {
                "Spread the load (RPS, more nodes, fewer pods), or raise net.core.netdev_max_backlog; /proc/net/softnet_stat counts these drops."
            }
            Self::TcDrop => {
                "Check the CNI's data path and bandwidth limits on the device shown (`tc -s qdisc`, `tc filter show`)."
            }
            Self::NoRoute => {
                "Check routes in the namespace shown: the pod's own, or the node's towards the other end's subnet."
            }
            Self::NeighbourFailed => {
                "The next hop or the pod behind it is gone or unreachable on that link: check the container network."
            }
            Self::PacketInvalid => {
                "Check MTU, rp_filter and checksum offload on the device shown; the drop reason says which."
            }
            Self::SendFailed => {
                "EPERM: a cgroup BPF program or security module; EAGAIN, ENOBUFS: the send buffer or device queue is full; ECONNREFUSED: an earlier query met a closed port."
            }
            Self::ServerSilent => {
                "Look at that server: overloaded, stopped, or waiting for its upstream; its own queries show the latter."
            }
            Self::AnswerMismatch => {
                "The translation of the reply was lost in between: look for what deletes conntrack entries, and for asymmetric routes."
            }
            Self::Unexplained => {
                "See `missing` for what could not be seen; `dnsprobe trace --only-failed` shows each such query."
            }
        }
    }

    /// Whether a query was lost; false for near misses.
    #[must_use]
    pub const fn is_loss(self) -> bool {
        !matches!(self, Self::ConntrackClashResolved)
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Cause {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One query as people know it.
#[derive(Clone, Debug, Serialize)]
pub struct Query {
    /// Name and type; `None` when the question was not captured.
    #[serde(flatten, serialize_with = "Question::serialize_or_null")]
    pub question: Option<Question>,
    /// DNS transaction id.
    pub id: u16,
    /// Who asked.
    pub client: SocketAddr,
    /// Whom it asked, before translation.
    pub server: SocketAddr,
    /// What carried it.
    #[serde(serialize_with = "serialize_transport")]
    pub transport: Transport,
    /// When it was sent.
    pub sent: Timestamp,
    /// Process id of the sender, where it was known.
    pub pid: Option<u32>,
    /// Command of the sender, where it was known.
    pub command: Option<String>,
    /// Who is at the other end: at `server`, or for a server at `client`; `None`
    /// when that is not proven.
    pub remote: Option<Arc<Remote>>,
    /// Where it went behind the translations of this node, when that was seen
    /// and is not `server`.
    pub backend: Option<Backend>,
}

impl Query {
    /// What is proven of the ends of a client's query, to follow its addresses:
    /// ` (service a/b, sent on to 10.0.0.1:53, pod c/d)`; empty when nothing is.
    #[must_use]
    pub fn ends(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.remote.as_ref().map(ToString::to_string));
        if let Some(Backend { address, remote: Some(remote) }) = &self.backend {
            parts.push(format!("sent on to {address}, {remote}"));
        }
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    }
}

/// A decided query.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// When the decisive thing happened in the kernel.
    pub time: Timestamp,
    /// The one cause.
    pub cause: Cause,
    /// Whether a query was lost.
    pub loss: bool,
    /// The one owner: the pod whose query it was.
    pub owner: Arc<Owner>,
    /// The query.
    pub query: Query,
    /// The proof in one sentence.
    pub summary: String,
    /// What to do about it.
    pub advice: &'static str,
    /// The other query of a clash, and its owner.
    pub sibling: Option<Sibling>,
    /// Clash only: both queries went out on one socket as an A/AAAA pair.
    pub pair: bool,
    /// The query's addresses as a device of this node last saw them, behind every
    /// translation here. `None` when none saw it. In JSON it is part of the
    /// evidence.
    #[serde(skip)]
    pub translated: Option<Tuple>,
    /// What was observed, in order of time.
    pub evidence: Vec<Evidence>,
    /// Unexplained only: hooks that were not attached and might have known.
    pub missing: Vec<String>,
}

impl Verdict {
    /// The real servers that its evidence names.
    pub(crate) fn backends(&self) -> impl Iterator<Item = SocketAddr> {
        let details = self.evidence.iter().map(|fact| &fact.detail);
        details.filter_map(|detail| detail.get("backend")?.as_str()?.parse().ok())
    }
}

/// The other query of a clash.
#[derive(Clone, Debug, Serialize)]
pub struct Sibling {
    /// Its owner.
    pub owner: Arc<Owner>,
    /// The query.
    #[serde(flatten)]
    pub query: Query,
}

/// One observed fact.
#[derive(Clone, Debug, Serialize)]
pub struct Evidence {
    /// When.
    pub at: Timestamp,
    /// In words.
    pub fact: String,
    /// The same for machines; its keys depend on the kind of fact.
    #[serde(flatten)]
    pub detail: serde_json::Map<String, serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_numbers_are_unique() {
        let names: HashSet<_> = Cause::ALL.iter().map(|c| c.as_str()).collect();
        let numbers: HashSet<_> = Cause::ALL.iter().map(|c| *c as u16).collect();
        assert_eq!(names.len(), Cause::ALL.len());
        assert_eq!(numbers.len(), Cause::ALL.len());
    }
}
