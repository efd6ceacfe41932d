//! IPVS state as the kernel publishes it in `/proc/net`: the proof of a stale
//! backend on kernels whose `ip_vs` module has no BTF.

pub(crate) mod table;

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use table::{Key, Service};

use crate::{
    engine::Backend,
    stats::{IpvsBackend, IpvsListing},
};

/// The tables can be long: they are read at most this often.
const MIN_AGE: Duration = Duration::from_millis(200);

/// The real servers of services at these ports in dnsprobe's network namespace, asked
/// over UDP; none where there is no IPVS, or it cannot be read.
#[must_use]
pub fn ipvs_backends(ports: &[u16]) -> Vec<IpvsBackend> {
    at_ports(&fs::read_to_string(table::PATH).unwrap_or_default(), ports)
}

fn at_ports(text: &str, ports: &[u16]) -> Vec<IpvsBackend> {
    let mut backends = Vec::new();
    for listed in table::parse(text) {
        let Key::Address(service) = listed.key else { continue };
        if !ports.contains(&service.port()) {
            continue;
        }
        backends.extend(listed.real_servers.iter().map(|server| IpvsBackend {
            service,
            backend: server.address,
            listing: IpvsListing {
                weight: server.weight,
                active_connections: server.active,
                inactive_connections: server.inactive,
            },
        }));
    }
    backends
}

/// Connections and real servers, with a bounded age.
#[derive(Default)]
pub(crate) struct IpvsState {
    connections: Vec<Connection>,
    services: Vec<Service>,
    read_at: Option<Instant>,
    /// Whether the table is the only witness: connections cannot be read where
    /// a packet meets them.
    only_witness: bool,
}

struct Connection {
    client: SocketAddr,
    service: SocketAddr,
    backend: SocketAddr,
}

impl IpvsState {
    pub(crate) fn new(only_witness: bool) -> Self {
        Self { only_witness, ..Self::default() }
    }

    /// The real server of weight 0 that a client's connection points to, if the
    /// table is the only witness.
    pub(crate) fn draining(&mut self, client: SocketAddr, service: SocketAddr) -> Option<Backend> {
        if !self.only_witness {
            return None;
        }
        self.backend(client, service).filter(|backend| backend.weight == Some(0))
    }

    /// Whether IPVS has a UDP service at this address.
    pub(crate) fn is_service(&mut self, address: SocketAddr) -> bool {
        self.refresh();
        self.services.iter().any(|service| service.key == Key::Address(address))
    }

    fn refresh(&mut self) {
        if self.read_at.is_none_or(|at| at.elapsed() > MIN_AGE) {
            let connections = fs::read_to_string("/proc/net/ip_vs_conn").unwrap_or_default();
            let services = fs::read_to_string(table::PATH).unwrap_or_default();
            self.connections = parse_connections(&connections);
            self.services = table::parse(&services);
            self.read_at = Some(Instant::now());
        }
    }

    /// The real server that a client's UDP connection to a service points to.
    pub(crate) fn backend(&mut self, client: SocketAddr, service: SocketAddr) -> Option<Backend> {
        self.refresh();
        let found = self
            .connections
            .iter()
            .find(|entry| entry.client == client && entry.service == service)?;
        let listed = self
            .services
            .iter()
            .filter(|listed| {
                matches!(listed.key, Key::Mark(_)) || listed.key == Key::Address(service)
            })
            .flat_map(|listed| &listed.real_servers)
            .find(|server| server.address == found.backend);
        Some(Backend {
            address: found.backend,
            available: listed.is_some(),
            weight: listed.and_then(|server| server.weight),
        })
    }
}

/// `/proc/net/ip_vs_conn` (net/netfilter/ipvs/ip_vs_conn.c, `ip_vs_conn_seq_show`):
/// `Pro FromIP FPrt ToIP TPrt DestIP DPrt State Expires`.
fn parse_connections(text: &str) -> Vec<Connection> {
    text.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            if words.first() != Some(&"UDP") || words.len() < 7 {
                return None;
            }
            Some(Connection {
                client: table::socket(words[1], words[2])?,
                service: table::socket(words[3], words[4])?,
                backend: table::socket(words[5], words[6])?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_understood() {
        let connections = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n\
                           UDP 0AF4000B 14E9 0A60000A 0035 0AF40003 0035 UDP             299\n\
                           TCP 0AF4000B 14E9 0A60000A 0035 0AF40003 0035 ESTABLISHED     299\n";
        let parsed = parse_connections(connections);
        assert_eq!(parsed.len(), 1);
        assert_eq!(parsed[0].client, "10.244.0.11:5353".parse().unwrap());
        assert_eq!(parsed[0].backend, "10.244.0.3:53".parse().unwrap());
    }

    #[test]
    fn only_services_at_the_ports_are_told() {
        let text = "UDP  0A60000A:0035 rr\n  -> 0AF40002:0035 Masq 1 0 9\n\
                    UDP  0A60000B:0050 rr\n  -> 0AF40003:0050 Masq 1 0 0\n";
        let told = at_ports(text, &[53]);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].service, "10.96.0.10:53".parse().unwrap());
        assert_eq!(told[0].backend, "10.244.0.2:53".parse().unwrap());
        assert_eq!(told[0].listing.inactive_connections, Some(9));
        assert!(at_ports(text, &[54]).is_empty());
    }

    #[test]
    fn rubbish_is_skipped() {
        assert!(parse_connections("UDP x y z\nUDP 1 2 3 4 5 6 7 8\n").len() <= 1);
    }
}
