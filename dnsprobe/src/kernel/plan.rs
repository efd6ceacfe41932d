//! What is hooked: one role per thing dnsprobe wants to know, each with its
//! alternatives, best first. This table is the source of `docs/hooks.md`.

use serde::Serialize;

use Mechanism::{
    BtfTracepoint, DropReason, DropTracepoint, Fentry, FentryPair, Fexit, Kprobe, KprobePair,
    Kretprobe, ProcFile, SendTracepoint,
};

/// Something dnsprobe wants to know of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// A local socket sends a query or an answer, IPv4.
    Send,
    /// The same for IPv6.
    SendV6,
    /// A local socket sends, and the program that should see it is skipped.
    SendPreempted,
    /// A send call returns an error.
    SendResult,
    /// A query or an answer is put on a local socket's queue, or an answer
    /// arrives in its socket's namespace.
    Queue,
    /// A process reads it.
    Read,
    /// The kernel drops a packet.
    Drop,
    /// A queueing discipline drops a packet.
    QdiscDrop,
    /// Nothing listens on a port.
    NoListener,
    /// A device transmits a query.
    Transmit,
    /// Two conntrack entries clash.
    ConntrackClash,
    /// Conntrack refuses to confirm a new entry.
    ConntrackConfirm,
    /// Conntrack's table is full.
    ConntrackFull,
    /// Entries that are not confirmed yet are being invalidated.
    ConntrackPurge,
    /// Masquerading finds no source address.
    NatSetup,
    /// IPVS drops a packet.
    IpvsVerdict,
    /// Which real server an IPVS connection points to.
    IpvsConnection,
    /// A virtual service has no real server.
    IpvsNoBackend,
    /// A process writes or reads a DNS message over TCP.
    Tcp,
    /// A TCP connection begins, ends or fails.
    TcpConnect,
    /// A cgroup is made.
    NewCgroup,
    /// A packet that is sent or queued is copied.
    CapturePackets,
    /// A packet that is dropped is copied.
    CaptureDrops,
}

impl Role {
    /// Every role, in the order they are attached: sending last, so that
    /// nothing is counted as sent before everything else can see it; and of two
    /// programs at one function the kernel runs the later one first
    /// (`hlist_add_head` in `bpf_trampoline_link_prog`, kernel/bpf/trampoline.c).
    pub const ALL: [Self; 23] = [
        Self::NewCgroup,
        Self::CaptureDrops,
        Self::CapturePackets,
        Self::Drop,
        Self::QdiscDrop,
        Self::NoListener,
        Self::ConntrackClash,
        Self::ConntrackConfirm,
        Self::ConntrackFull,
        Self::ConntrackPurge,
        Self::NatSetup,
        Self::IpvsConnection,
        Self::IpvsNoBackend,
        Self::IpvsVerdict,
        Self::Transmit,
        Self::TcpConnect,
        Self::Tcp,
        Self::Read,
        Self::Queue,
        Self::SendResult,
        Self::SendPreempted,
        Self::SendV6,
        Self::Send,
    ];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::SendV6 => "send-ipv6",
            Self::SendPreempted => "send-preempted",
            Self::SendResult => "send-result",
            Self::Queue => "queue",
            Self::Read => "read",
            Self::Drop => "drop",
            Self::QdiscDrop => "qdisc-drop",
            Self::NoListener => "no-listener",
            Self::Transmit => "transmit",
            Self::ConntrackClash => "conntrack-clash",
            Self::ConntrackConfirm => "conntrack-confirm",
            Self::ConntrackFull => "conntrack-full",
            Self::ConntrackPurge => "conntrack-purge",
            Self::NatSetup => "nat-setup",
            Self::IpvsVerdict => "ipvs-verdict",
            Self::IpvsConnection => "ipvs-connection",
            Self::IpvsNoBackend => "ipvs-no-backend",
            Self::Tcp => "tcp",
            Self::TcpConnect => "tcp-connect",
            Self::NewCgroup => "new-cgroup",
            Self::CapturePackets => "capture-packets",
            Self::CaptureDrops => "capture-drops",
        }
    }

    /// What is not seen without it.
    #[must_use]
    pub const fn without(self) -> &'static str {
        match self {
            Self::Send => "queries sent over IPv4",
            Self::SendV6 => "queries sent over IPv6",
            Self::SendPreempted => {
                "queries sent while another task is interrupted in the middle of sending one"
            }
            Self::SendResult => "queries for which the send call itself fails",
            Self::Queue => "answers",
            Self::Read => "how long an answer waits to be read; latency then ends when it arrives",
            Self::Drop => "where and why the kernel drops packets",
            Self::QdiscDrop => "packets dropped by queueing disciplines",
            Self::NoListener => "queries to ports nobody listens on",
            Self::Transmit => "whether a lost query left the node",
            Self::ConntrackClash => "conntrack clashes, lost and resolved",
            Self::ConntrackConfirm => "whether conntrack or a rule dropped a new flow's packet",
            Self::ConntrackFull => "whether a packet was dropped because conntrack was full",
            Self::ConntrackPurge => "whether a flow's entry was invalidated on its packet's way",
            Self::NatSetup => "whether a packet was dropped because masquerading had no address",
            Self::IpvsVerdict => "packets dropped by IPVS",
            Self::IpvsConnection => "which real server an IPVS connection points to",
            Self::IpvsNoBackend => "whether a virtual service had no real server",
            Self::Tcp => "queries and answers over TCP",
            Self::TcpConnect => "TCP connections to DNS servers that are not made",
            Self::CapturePackets => "packets for `dnsprobe capture`",
            Self::CaptureDrops => "dropped packets for `dnsprobe capture`",
            Self::NewCgroup => "whose a query was, when its pod is gone a moment later",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Role {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How a program is attached, or what stands in for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// Trampoline at a function's entry; 5.5, of a module 5.11.
    Fentry,
    /// Trampoline at a function's return; 5.5, of a module 5.11.
    Fexit,
    /// The same at entry and return; 5.5.
    FentryPair,
    /// Tracepoint with typed arguments; 5.5.
    BtfTracepoint,
    /// Breakpoint or ftrace probe at a function's entry.
    Kprobe,
    /// The same at entry and return.
    KprobePair,
    /// The same at return only.
    Kretprobe,
    /// Another role's tracepoint tells it already.
    DropReason,
    /// The same, for kernels where that tracepoint has these packets too.
    DropTracepoint,
    /// The hook of another role sees it too.
    SendTracepoint,
    /// A table the kernel publishes, read when something was dropped.
    ProcFile,
}

impl Mechanism {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::FentryPair => "fentry + fexit",
            Self::BtfTracepoint => "BTF tracepoint",
            Self::Kprobe => "kprobe",
            Self::KprobePair => "kprobe + kretprobe",
            Self::Kretprobe => "kretprobe",
            Self::DropReason => "drop reason",
            Self::DropTracepoint => "drop tracepoint",
            Self::SendTracepoint => "send tracepoint",
            Self::ProcFile => "/proc table",
        }
    }
}

impl std::fmt::Display for Mechanism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One way of filling a role: programs and the kernel functions or
/// tracepoints they go to. All must attach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alternative {
    pub(crate) mechanism: Mechanism,
    /// (program, kernel symbol)
    pub(crate) programs: &'static [(&'static str, &'static str)],
}

const fn by(
    mechanism: Mechanism,
    programs: &'static [(&'static str, &'static str)],
) -> Alternative {
    Alternative { mechanism, programs }
}

/// A role's alternatives, best first.
pub(crate) const fn alternatives(role: Role) -> &'static [Alternative] {
    match role {
        Role::Send => SEND,
        Role::SendV6 => SEND_V6,
        Role::SendPreempted => SEND_PREEMPTED,
        Role::SendResult => SEND_RESULT,
        Role::Queue => QUEUE,
        Role::Read => READ,
        Role::Drop => DROP,
        Role::QdiscDrop => QDISC_DROP,
        Role::NoListener => NO_LISTENER,
        Role::Transmit => TRANSMIT,
        Role::ConntrackClash => CONNTRACK_CLASH,
        Role::ConntrackConfirm => CONNTRACK_CONFIRM,
        Role::ConntrackFull => CONNTRACK_FULL,
        Role::ConntrackPurge => CONNTRACK_PURGE,
        Role::NatSetup => NAT_SETUP,
        Role::IpvsVerdict => IPVS_VERDICT,
        Role::IpvsConnection => IPVS_CONNECTION,
        Role::IpvsNoBackend => IPVS_NO_BACKEND,
        Role::Tcp => TCP,
        Role::TcpConnect => TCP_CONNECT,
        Role::NewCgroup => NEW_CGROUP,
        Role::CapturePackets => CAPTURE_PACKETS,
        Role::CaptureDrops => CAPTURE_DROPS,
    }
}

const SEND: &[Alternative] = &[
    by(Fentry, &[("ip_send_skb", "ip_send_skb")]),
    by(Kprobe, &[("ip_send_skb_kprobe", "ip_send_skb")]),
    by(BtfTracepoint, &[("net_dev_queue", "net_dev_queue")]),
];

const SEND_V6: &[Alternative] = &[
    by(Fentry, &[("ip6_send_skb", "ip6_send_skb")]),
    by(Kprobe, &[("ip6_send_skb_kprobe", "ip6_send_skb")]),
    by(SendTracepoint, &[]),
];

/// Where IPv6 is a module or absent, IPv4 alone.
const SEND_PREEMPTED: &[Alternative] = &[
    by(Fentry, &[("ip_send_skb_again", "ip_send_skb"), ("ip6_send_skb_again", "ip6_send_skb")]),
    by(Fentry, &[("ip_send_skb_again", "ip_send_skb")]),
];

/// Where IPv6 is a module or absent, IPv4 alone.
const SEND_RESULT: &[Alternative] = &[
    by(Fexit, &[("udp_sent", "udp_sendmsg"), ("udpv6_sent", "udpv6_sendmsg")]),
    by(
        KprobePair,
        &[
            ("udp_send_enter", "udp_sendmsg"),
            ("udp_send_return", "udp_sendmsg"),
            ("udpv6_send_enter", "udpv6_sendmsg"),
            ("udpv6_send_return", "udpv6_sendmsg"),
        ],
    ),
    by(Fexit, &[("udp_sent", "udp_sendmsg")]),
    by(KprobePair, &[("udp_send_enter", "udp_sendmsg"), ("udp_send_return", "udp_sendmsg")]),
];

const QUEUE: &[Alternative] = &[
    by(Fentry, &[("udp_enqueue", "__udp_enqueue_schedule_skb")]),
    by(Kprobe, &[("udp_enqueue_kprobe", "__udp_enqueue_schedule_skb")]),
    by(BtfTracepoint, &[("netif_receive_skb", "netif_receive_skb")]),
];

const READ: &[Alternative] = &[
    by(Fentry, &[("udp_consume", "skb_consume_udp")]),
    by(Kprobe, &[("udp_consume_kprobe", "skb_consume_udp")]),
];

const DROP: &[Alternative] = &[by(BtfTracepoint, &[("kfree_skb", "kfree_skb")])];

/// A tracepoint of its own since 7.0; before, the drops of queueing disciplines
/// are among all others.
const QDISC_DROP: &[Alternative] =
    &[by(BtfTracepoint, &[("qdisc_drop", "qdisc_drop")]), by(DropTracepoint, &[])];

/// Where IPv6 is a module or absent, IPv4 alone.
const NO_LISTENER: &[Alternative] = &[
    by(DropReason, &[]),
    by(Fentry, &[("icmp_send", "__icmp_send"), ("icmp6_send", "icmp6_send")]),
    by(Kprobe, &[("icmp_send_kprobe", "__icmp_send"), ("icmp6_send_kprobe", "icmp6_send")]),
    by(Fentry, &[("icmp_send", "__icmp_send")]),
    by(Kprobe, &[("icmp_send_kprobe", "__icmp_send")]),
];

const TRANSMIT: &[Alternative] =
    &[by(BtfTracepoint, &[("net_dev_start_xmit", "net_dev_start_xmit")])];

const CONNTRACK_CLASH: &[Alternative] = &[by(
    KprobePair,
    &[("clash", "nf_ct_resolve_clash"), ("clash_resolved", "nf_ct_resolve_clash")],
)];

const CONNTRACK_CONFIRM: &[Alternative] = &[
    by(Fexit, &[("confirm_fexit", "__nf_conntrack_confirm")]),
    by(
        KprobePair,
        &[("confirm", "__nf_conntrack_confirm"), ("confirmed", "__nf_conntrack_confirm")],
    ),
];

const CONNTRACK_FULL: &[Alternative] = &[by(Kretprobe, &[("early_drop", "early_drop")])];

const CONNTRACK_PURGE: &[Alternative] =
    &[by(Kprobe, &[("conntrack_purge", "nf_ct_iterate_destroy")])];

const NAT_SETUP: &[Alternative] = &[
    by(Fexit, &[("masquerade_fexit", "nf_nat_masquerade_ipv4")]),
    by(
        KprobePair,
        &[("masquerade", "nf_nat_masquerade_ipv4"), ("masqueraded", "nf_nat_masquerade_ipv4")],
    ),
];

/// One function since 5.13; before, one per hook and family, those of IPv6 only
/// where IPVS was built with it.
const IPVS_VERDICT: &[Alternative] = &[
    by(Fexit, &[("ipvs_verdict_fexit", "ip_vs_in_hook")]),
    by(KprobePair, &[("ipvs_in", "ip_vs_in_hook"), ("ipvs_verdict", "ip_vs_in_hook")]),
    by(
        KprobePair,
        &[
            ("ipvs_in", "ip_vs_remote_request4"),
            ("ipvs_verdict", "ip_vs_remote_request4"),
            ("ipvs_in", "ip_vs_local_request4"),
            ("ipvs_verdict", "ip_vs_local_request4"),
            ("ipvs_in", "ip_vs_remote_request6"),
            ("ipvs_verdict", "ip_vs_remote_request6"),
            ("ipvs_in", "ip_vs_local_request6"),
            ("ipvs_verdict", "ip_vs_local_request6"),
        ],
    ),
    by(
        KprobePair,
        &[
            ("ipvs_in", "ip_vs_remote_request4"),
            ("ipvs_verdict", "ip_vs_remote_request4"),
            ("ipvs_in", "ip_vs_local_request4"),
            ("ipvs_verdict", "ip_vs_local_request4"),
        ],
    ),
];

const IPVS_CONNECTION: &[Alternative] = &[
    by(Fexit, &[("ipvs_connection_fexit", "ip_vs_conn_in_get_proto")]),
    by(Kretprobe, &[("ipvs_connection", "ip_vs_conn_in_get_proto")]),
    by(ProcFile, &[]),
];

const IPVS_NO_BACKEND: &[Alternative] = &[by(Kprobe, &[("ipvs_leave", "ip_vs_leave")])];

const TCP: &[Alternative] = &[by(
    FentryPair,
    &[
        ("tcp_write", "tcp_sendmsg"),
        ("tcp_written", "tcp_sendmsg"),
        ("tcp_read", "tcp_recvmsg"),
        ("tcp_has_read", "tcp_recvmsg"),
    ],
)];

const TCP_CONNECT: &[Alternative] =
    &[by(BtfTracepoint, &[("inet_sock_set_state", "inet_sock_set_state")])];

const NEW_CGROUP: &[Alternative] = &[by(BtfTracepoint, &[("cgroup_mkdir", "cgroup_mkdir")])];

/// Where IPv6 is a module or absent, IPv4 alone.
const CAPTURE_PACKETS: &[Alternative] = &[
    by(
        Fentry,
        &[
            ("capture_ip_send_skb", "ip_send_skb"),
            ("capture_ip6_send_skb", "ip6_send_skb"),
            ("capture_udp_enqueue", "__udp_enqueue_schedule_skb"),
        ],
    ),
    by(
        Fentry,
        &[
            ("capture_ip_send_skb", "ip_send_skb"),
            ("capture_udp_enqueue", "__udp_enqueue_schedule_skb"),
        ],
    ),
    by(
        Kprobe,
        &[
            ("capture_ip_send_skb_kprobe", "ip_send_skb"),
            ("capture_ip6_send_skb_kprobe", "ip6_send_skb"),
            ("capture_udp_enqueue_kprobe", "__udp_enqueue_schedule_skb"),
        ],
    ),
    by(
        Kprobe,
        &[
            ("capture_ip_send_skb_kprobe", "ip_send_skb"),
            ("capture_udp_enqueue_kprobe", "__udp_enqueue_schedule_skb"),
        ],
    ),
    by(
        BtfTracepoint,
        &[
            ("capture_net_dev_queue", "net_dev_queue"),
            ("capture_netif_receive_skb", "netif_receive_skb"),
        ],
    ),
];

/// Queueing disciplines have a tracepoint of their own since 7.0.
const CAPTURE_DROPS: &[Alternative] = &[
    by(BtfTracepoint, &[("capture_kfree_skb", "kfree_skb"), ("capture_qdisc_drop", "qdisc_drop")]),
    by(BtfTracepoint, &[("capture_kfree_skb", "kfree_skb")]),
];

/// Programs behind which a second one stands, so that nothing is lost when the kernel
/// skips them.
pub(crate) const AGAIN: [(&str, &str); 2] =
    [("ip_send_skb", "ip_send_skb_again"), ("ip6_send_skb", "ip6_send_skb_again")];

/// A program that goes on in another, or in itself again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    pub(crate) program: &'static str,
    /// The map with one place through which it goes on.
    pub(crate) map: &'static str,
    /// Of the same type and for the same symbol.
    pub(crate) next: &'static str,
}

/// Every one of them.
pub(crate) const TAILS: &[Tail] = &[
    Tail { program: "kfree_skb", map: "KFREE_SKB_REPORT", next: "kfree_skb_report" },
    Tail { program: "tcp_written", map: "TCP_WRITTEN_MORE", next: "tcp_written" },
    Tail { program: "tcp_has_read", map: "TCP_READ_MORE", next: "tcp_has_read" },
];

/// How a role stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum RoleState {
    /// In force.
    Attached {
        /// By this mechanism.
        mechanism: Mechanism,
        /// On these kernel functions or tracepoints.
        symbols: Vec<String>,
    },
    /// This node does not use what the role is about.
    NotNeeded {
        /// Why not.
        reason: String,
    },
    /// Not possible here.
    Missing {
        /// Why not.
        reason: String,
    },
}

/// A role, how it stands, and why its better alternatives were passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoleReport {
    /// The role.
    pub role: Role,
    /// How it stands.
    #[serde(flatten)]
    pub state: RoleState,
    /// Alternatives that were tried before, and what happened.
    pub passed_over: Vec<String>,
}

impl RoleReport {
    /// The mechanism in force.
    #[must_use]
    pub fn mechanism(&self) -> Option<Mechanism> {
        match &self.state {
            RoleState::Attached { mechanism, .. } => Some(*mechanism),
            _ => None,
        }
    }
}

/// The page `docs/hooks.md`.
#[must_use]
pub fn reference() -> String {
    use std::fmt::Write as _;
    let mut text = String::from(
        "# Hooks\n\nMade by `cargo xtask docs`. Each role is filled by the first alternative \
         that this kernel allows; `dnsprobe doctor` shows which, and why the ones before it were \
         not possible. Prototypes and costs stand in `dnsprobe-ebpf/src/hooks/`.\n\n\
         | role | without it, not seen | alternatives, best first |\n|---|---|---|\n",
    );
    for role in Role::ALL {
        let list: Vec<String> = alternatives(role).iter().map(describe).collect();
        let _ = writeln!(text, "| `{role}` | {} | {} |", role.without(), list.join("; "));
    }
    text
}

/// An alternative in words.
pub(crate) fn describe(alternative: &Alternative) -> String {
    let symbols = symbols(alternative);
    if symbols.is_empty() {
        alternative.mechanism.to_string()
    } else {
        format!("{} on {}", alternative.mechanism, symbols.join(", "))
    }
}

/// The kernel symbols of an alternative, each once.
pub(crate) fn symbols(alternative: &Alternative) -> Vec<String> {
    let mut symbols: Vec<String> = Vec::new();
    for (_, symbol) in alternative.programs {
        if !symbols.iter().any(|known| known == symbol) {
            symbols.push((*symbol).to_owned());
        }
    }
    symbols
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_role_is_listed_once_and_has_an_alternative() {
        let names: HashSet<_> = Role::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(names.len(), Role::ALL.len());
        for role in Role::ALL {
            assert!(!alternatives(role).is_empty(), "{role}");
        }
    }

    #[test]
    fn sending_is_attached_last() {
        assert_eq!(Role::ALL.last(), Some(&Role::Send));
    }
}
