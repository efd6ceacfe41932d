//! What is known of the node and its pods. Every field that could not be read
//! is `None` or absent; the reader says so elsewhere.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use serde::Serialize;

use crate::{dns::resolv_conf::ResolvConf, identity::Owner};

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// What, safe to print.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// A setting of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sysctl {
    /// Entries that the conntrack table may hold.
    ConntrackMax,
    /// Buckets of the conntrack table.
    ConntrackBuckets,
    /// Seconds that an entry for an unanswered UDP packet lives.
    UdpTimeout,
    /// Seconds that an entry lives once both sides have sent.
    UdpTimeoutStream,
    /// Whether IPVS keeps conntrack entries.
    IpvsConntrack,
    /// Whether connections to a real server that is gone are dropped.
    IpvsExpireNodest,
    /// What IPVS does when a client's port is used again.
    IpvsConnReuse,
    /// Whether templates of real servers with weight 0 expire.
    IpvsExpireQuiescent,
    /// Bytes of a socket's receive buffer.
    RmemDefault,
    /// The largest that a program may ask for.
    RmemMax,
    /// Packets that wait for a processor.
    NetdevMaxBacklog,
    /// Reverse-path filter of all devices.
    RpFilterAll,
    /// Reverse-path filter of new devices.
    RpFilterDefault,
}

impl Sysctl {
    /// Every setting.
    pub const ALL: [Self; 13] = [
        Self::ConntrackMax,
        Self::ConntrackBuckets,
        Self::UdpTimeout,
        Self::UdpTimeoutStream,
        Self::IpvsConntrack,
        Self::IpvsExpireNodest,
        Self::IpvsConnReuse,
        Self::IpvsExpireQuiescent,
        Self::RmemDefault,
        Self::RmemMax,
        Self::NetdevMaxBacklog,
        Self::RpFilterAll,
        Self::RpFilterDefault,
    ];

    /// As `sysctl` writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConntrackMax => "net.netfilter.nf_conntrack_max",
            Self::ConntrackBuckets => "net.netfilter.nf_conntrack_buckets",
            Self::UdpTimeout => "net.netfilter.nf_conntrack_udp_timeout",
            Self::UdpTimeoutStream => "net.netfilter.nf_conntrack_udp_timeout_stream",
            Self::IpvsConntrack => "net.ipv4.vs.conntrack",
            Self::IpvsExpireNodest => "net.ipv4.vs.expire_nodest_conn",
            Self::IpvsConnReuse => "net.ipv4.vs.conn_reuse_mode",
            Self::IpvsExpireQuiescent => "net.ipv4.vs.expire_quiescent_template",
            Self::RmemDefault => "net.core.rmem_default",
            Self::RmemMax => "net.core.rmem_max",
            Self::NetdevMaxBacklog => "net.core.netdev_max_backlog",
            Self::RpFilterAll => "net.ipv4.conf.all.rp_filter",
            Self::RpFilterDefault => "net.ipv4.conf.default.rp_filter",
        }
    }
}

/// The conntrack table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// Entries now.
    pub entries: Option<u64>,
    /// Entries refused since the table exists, because it was full or they
    /// clashed.
    pub dropped: Option<u64>,
    /// Entries thrown out to make room.
    pub early_dropped: Option<u64>,
    /// Pods that sent the first packet of entries, most entries first.
    pub owners: Vec<(Arc<Owner>, u64)>,
    /// Entries that are no pod's; `None` where entries could not be read.
    pub others: Option<u64>,
}

/// A UDP service on port 53 in IPVS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsService {
    /// Its address.
    pub address: SocketAddr,
    /// Its real servers and their weights.
    pub backends: Vec<(SocketAddr, Option<i32>)>,
}

/// IPVS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipvs {
    /// DNS services; without any, IPVS is no concern of DNS.
    pub dns_services: Vec<DnsService>,
    /// Seconds that a UDP connection lives.
    pub udp_timeout_seconds: Option<u64>,
}

/// Packets thrown away since the node started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Because a processor's backlog was full.
    pub backlog_dropped: Option<u64>,
    /// Because the socket's receive buffer was full, in the node's own network
    /// namespace.
    pub receive_buffer_errors: Option<u64>,
}

/// The node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// `uname -r`.
    pub release: String,
    /// Settings that exist on this kernel.
    pub sysctls: Vec<(Sysctl, u64)>,
    /// The conntrack table.
    pub conntrack: Conntrack,
    /// IPVS.
    pub ipvs: Ipvs,
    /// Losses.
    pub network: Network,
}

impl NodeFacts {
    /// A setting's value.
    #[must_use]
    pub fn sysctl(&self, wanted: Sysctl) -> Option<u64> {
        self.sysctls.iter().find(|(sysctl, _)| *sysctl == wanted).map(|(_, value)| *value)
    }
}

/// The C library that a container's programs use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// The GNU C library; its version where its file tells, as `(2, 17)`.
    Glibc(Option<(u32, u32)>),
    /// musl.
    Musl,
}

/// A `resolv.conf` as a container sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolvConfFile {
    /// There is none.
    Missing,
    /// Its content.
    Read(ResolvConf),
}

/// Whether packets from a container's network namespace can go to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// There is a route.
    Routed,
    /// There is none; the kernel's words.
    NoRoute(String),
    /// It is the container's own address and no socket is bound to its port
    /// 53.
    NobodyListens,
    /// Not known.
    Unknown,
}

/// One container of a pod, or one process asked for by its id.
#[derive(Clone, Debug)]
pub struct Container {
    /// Whose it is.
    pub owner: Arc<Owner>,
    /// A process in it.
    pub pid: u32,
    /// The file.
    pub resolv_conf: ResolvConfFile,
    /// The C library; `None`: none is loaded, or not known.
    pub library: Option<Library>,
    /// Nameservers of the file.
    pub reachability: Vec<(IpAddr, Reachability)>,
}
