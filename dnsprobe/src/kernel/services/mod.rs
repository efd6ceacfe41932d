//! Which service address leads to which backends, as this node's own kernel
//! has it: IPVS, iptables, nftables. No cluster is asked and no program run.
//!
//! Everything is about UDP and about dnsprobe's own network namespace, where
//! the node translates. Reading loads no module and makes no table.

mod names;
mod nftables;
#[cfg(test)]
mod tests;
mod translation;
mod xtables;

use std::{fmt, fs, io, net::SocketAddr};

pub use names::service_names;
use translation::{Address, Found, Packet};

use super::ipvs::table as ipvs;

/// What holds translations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// IPVS.
    Ipvs,
    /// The `nat` table of iptables-legacy.
    Iptables,
    /// The `nat` table of ip6tables-legacy.
    Ip6tables,
    /// nftables, also as iptables-nft uses it.
    Nftables,
    /// Open vSwitch, whose flows cannot be read here.
    OpenVswitch,
    /// The `ct` action of traffic control, which cannot be read here.
    TrafficControl,
}

impl Source {
    /// Its name in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipvs => "ipvs",
            Self::Iptables => "iptables",
            Self::Ip6tables => "ip6tables",
            Self::Nftables => "nftables",
            Self::OpenVswitch => "open-vswitch",
            Self::TrafficControl => "traffic-control",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where queries to a service may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its address.
    pub address: SocketAddr,
    /// IPVS: its weight; 0: it gets no new connections.
    pub weight: Option<i32>,
    /// Who says so.
    pub source: Source,
}

/// An answer that is proof either way, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A rule or service that the query can meet leads there.
    Yes,
    /// Nothing does: everything that could was read completely.
    No,
    /// Not proven, because of this.
    Unknown(String),
}

/// Why a source has nothing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Unread {
    /// It does not exist on this node: that is as good as empty.
    Absent,
    /// It may hold something.
    Unreadable(String),
}

/// Every translation of destinations that the node knows at one moment.
#[derive(Debug, Default)]
pub struct Services {
    ipvs: Vec<ipvs::Service>,
    tables: Vec<xtables::Table>,
    nftables: nftables::Ruleset,
    unreadable: Vec<(Source, String)>,
}

impl Services {
    /// Reads the node's state; milliseconds on a node with thousands of rules.
    /// Needs `CAP_NET_ADMIN` where iptables or nftables are in use.
    #[must_use]
    pub fn read() -> Self {
        let mut services = Self::default();
        let mut unreadable = Vec::new();
        match fs::read_to_string(ipvs::PATH) {
            Ok(text) => services.ipvs = ipvs::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => unreadable.push((Source::Ipvs, format!("{}: {error}", ipvs::PATH))),
        }
        for (is_v6, source) in [(false, Source::Iptables), (true, Source::Ip6tables)] {
            match xtables::read(is_v6) {
                Ok(table) => services.tables.push(table),
                Err(Unread::Absent) => {}
                Err(Unread::Unreadable(reason)) => unreadable.push((source, reason)),
            }
        }
        match nftables::read() {
            Ok(ruleset) => services.nftables = ruleset,
            Err(Unread::Absent) => {}
            Err(Unread::Unreadable(reason)) => unreadable.push((Source::Nftables, reason)),
        }
        // Both translate with conntrack, by rules that are kept elsewhere.
        for (module, source) in
            [("openvswitch", Source::OpenVswitch), ("act_ct", Source::TrafficControl)]
        {
            if fs::exists(format!("/sys/module/{module}")).unwrap_or(true) {
                unreadable.push((source, "its translations cannot be read".to_owned()));
            }
        }
        services.unreadable = unreadable;
        services
    }

    /// Sources that exist and could not be read, and why.
    #[must_use]
    pub fn unreadable(&self) -> &[(Source, String)] {
        &self.unreadable
    }

    /// Where a query to `service` may go: every backend that a rule it can
    /// meet leads to. Empty for an address that is no service.
    #[must_use]
    pub fn backends(&self, service: SocketAddr) -> Vec<Backend> {
        let mut backends: Vec<Backend> = self
            .real_servers(Some(service))
            .map(|server| Backend {
                address: server.address,
                weight: server.weight,
                source: Source::Ipvs,
            })
            .collect();
        let packet = Packet { is_v6: service.is_ipv6(), destination: Some(service) };
        for (source, translation) in self.found(packet).translations {
            let backend = translation.backend(packet);
            let backend = backend.map(|address| Backend { address, weight: None, source });
            // Rules for packets that come in and for the node's own agree.
            backends.extend(backend.filter(|backend| !backends.contains(backend)));
        }
        backends
    }

    /// Whether queries to `service`, or to any service, can be translated to
    /// `backend`. [`Answer::No`] is proof.
    #[must_use]
    pub fn is_target(&self, service: Option<SocketAddr>, backend: SocketAddr) -> Answer {
        let packet = Packet { is_v6: backend.is_ipv6(), destination: service };
        if self.real_servers(service).any(|server| server.address == backend) {
            return Answer::Yes;
        }
        let found = self.found(packet);
        let mut unclear = found.unclear;
        for (source, translation) in &found.translations {
            if translation.can_give(packet, backend) {
                if translation.address != Address::Local {
                    return Answer::Yes;
                }
                unclear.push(format!("a rule of {source} leads to the node itself"));
            }
        }
        unclear
            .extend(self.unreadable.iter().map(|(source, reason)| format!("{source}: {reason}")));
        if unclear.is_empty() { Answer::No } else { Answer::Unknown(unclear.join("; ")) }
    }

    /// Whether IPVS has a UDP service at this address.
    #[must_use]
    pub fn is_ipvs_service(&self, address: SocketAddr) -> bool {
        self.ipvs.iter().any(|service| service.key == ipvs::Key::Address(address))
    }

    /// UDP services in IPVS on this port, with their real servers.
    #[must_use]
    pub fn ipvs_services(&self, port: u16) -> Vec<(SocketAddr, Vec<Backend>)> {
        let address = |service: &ipvs::Service| match service.key {
            ipvs::Key::Address(address) if address.port() == port => Some(address),
            ipvs::Key::Address(_) | ipvs::Key::Mark(_) => None,
        };
        let backend = |server: &ipvs::RealServer| Backend {
            address: server.address,
            weight: server.weight,
            source: Source::Ipvs,
        };
        self.ipvs
            .iter()
            .filter_map(|service| {
                Some((address(service)?, service.real_servers.iter().map(backend).collect()))
            })
            .collect()
    }

    /// Real servers of one service, or of all; those by firewall mark may
    /// stand behind any address.
    fn real_servers(&self, service: Option<SocketAddr>) -> impl Iterator<Item = &ipvs::RealServer> {
        self.ipvs
            .iter()
            .filter(move |listed| match (listed.key, service) {
                (ipvs::Key::Address(address), Some(service)) => address == service,
                (ipvs::Key::Mark(_), _) | (_, None) => true,
            })
            .flat_map(|listed| &listed.real_servers)
    }

    fn found(&self, packet: Packet) -> Found {
        let mut found = Found::default();
        for table in &self.tables {
            table.find(packet, &mut found);
        }
        self.nftables.find(packet, &mut found);
        found
    }
}
