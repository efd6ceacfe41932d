//! Who or what is at the other end of a query: named when it is proven, with
//! the source that proves it, and else not at all.

mod ask;
mod cluster;
mod facts;
mod holders;
mod shared;
#[cfg(test)]
mod tests;

use std::{fmt, net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};

pub(super) use ask::Remotes;
pub use cluster::{ClusterFacts, ClusterPod};
pub(super) use facts::Found;
pub use facts::{LocalAddress, RemoteFacts, ServiceFact};
pub(super) use holders::Who;
pub use holders::{Holder, holders};
pub use shared::SharedFacts;

/// What kind of end it is. A bounded number of values, fit for a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemoteKind {
    /// A pod of this node.
    Pod,
    /// A container of this node outside any pod.
    Container,
    /// A service: who answers is decided packet by packet.
    Service,
    /// A DNS cache of this node at a link-local address.
    NodeLocalCache,
    /// This node, in its own network namespace.
    Node,
    /// A server that this node's own `resolv.conf` names.
    Upstream,
}

impl RemoteKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Pod,
        Self::Container,
        Self::Service,
        Self::NodeLocalCache,
        Self::Node,
        Self::Upstream,
    ];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Container => "container",
            Self::Service => "service",
            Self::NodeLocalCache => "node-local-cache",
            Self::Node => "node",
            Self::Upstream => "upstream",
        }
    }

    /// In words.
    const fn words(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Container => "container",
            Self::Service => "service",
            Self::NodeLocalCache => "node-local cache",
            Self::Node => "this node",
            Self::Upstream => "upstream",
        }
    }
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemoteSource {
    /// The address is one of that network namespace's own.
    NetworkNamespace,
    /// The address is on a device of this node.
    LocalDevice,
    /// kube-proxy's rules in iptables-legacy.
    Iptables,
    /// kube-proxy's rules in nftables, also as iptables-nft writes them.
    Nftables,
    /// The table of IPVS.
    Ipvs,
    /// The node's `resolv.conf`.
    ResolvConf,
    /// The Kubernetes API server.
    KubernetesApi,
}

impl RemoteSource {
    /// Every source.
    pub const ALL: [Self; 7] = [
        Self::NetworkNamespace,
        Self::LocalDevice,
        Self::Iptables,
        Self::Nftables,
        Self::Ipvs,
        Self::ResolvConf,
        Self::KubernetesApi,
    ];
}

/// A remote end. All text is safe to print.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Remote {
    /// What it is.
    pub kind: RemoteKind,
    /// Its Kubernetes namespace; `None` where it has none or it is not known.
    pub namespace: Option<String>,
    /// Its name; as for the namespace.
    pub name: Option<String>,
    /// Who says so.
    pub source: RemoteSource,
}

impl Remote {
    /// One without a name.
    #[must_use]
    pub const fn nameless(kind: RemoteKind, source: RemoteSource) -> Self {
        Self { kind, namespace: None, name: None, source }
    }

    /// Every name that its label holds, by itself and together.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.namespace.iter().chain(&self.name).cloned().collect();
        if let [namespace, name] = &names[..] {
            names.push(format!("{namespace}/{name}"));
        }
        names
    }
}

impl fmt::Display for Remote {
    /// `service kube-system/kube-dns`, `pod shop/cart-0`, `this node`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.words();
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => f.pad(&format!("{kind} {namespace}/{name}")),
            (None, Some(name)) => f.pad(&format!("{kind} {name}")),
            (_, None) => f.pad(kind),
        }
    }
}

impl Serialize for Remote {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", &self.kind)?;
        map.serialize_entry("namespace", &self.namespace)?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("label", &self.to_string())?;
        map.end()
    }
}

/// Who is asked for: from where, which address, when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteAddress {
    /// Inode of the network namespace from which it is seen; 0: not known.
    pub netns: u32,
    /// The address.
    pub address: SocketAddr,
    /// When the packet was sent, kernel nanoseconds; [`RemoteAddress::NOW`]: now.
    pub at_ns: u64,
}

impl RemoteAddress {
    /// Stands for the present moment.
    pub const NOW: u64 = u64::MAX;
}

/// Who got a query that was sent to a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backend {
    /// The server's address behind every translation on this node.
    pub address: SocketAddr,
    /// Who that is; `None` when it is not proven.
    pub remote: Option<Arc<Remote>>,
}
