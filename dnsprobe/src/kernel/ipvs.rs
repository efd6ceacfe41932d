//! IPVS state as the kernel publishes it in `/proc/net`: the proof of a stale
//! backend on kernels whose `ip_vs` module has no BTF.

use std::{
    collections::HashSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use crate::engine::Backend;

/// The tables can be long: they are read at most this often.
const MIN_AGE: Duration = Duration::from_millis(200);

/// Connections and real servers, with a bounded age.
#[derive(Default)]
pub(crate) struct IpvsState {
    connections: Vec<Connection>,
    real_servers: HashSet<SocketAddr>,
    read_at: Option<Instant>,
}

struct Connection {
    client: SocketAddr,
    service: SocketAddr,
    backend: SocketAddr,
}

impl IpvsState {
    /// The real server that a client's UDP connection to a service points to.
    pub(crate) fn backend(&mut self, client: SocketAddr, service: SocketAddr) -> Option<Backend> {
        if self.read_at.is_none_or(|at| at.elapsed() > MIN_AGE) {
            let connections = fs::read_to_string("/proc/net/ip_vs_conn").unwrap_or_default();
            let servers = fs::read_to_string("/proc/net/ip_vs").unwrap_or_default();
            self.connections = parse_connections(&connections);
            self.real_servers = parse_real_servers(&servers);
            self.read_at = Some(Instant::now());
        }
        let found = self
            .connections
            .iter()
            .find(|entry| entry.client == client && entry.service == service)?;
        Some(Backend {
            address: found.backend,
            available: self.real_servers.contains(&found.backend),
            weight: None,
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
                client: socket(words[1], words[2])?,
                service: socket(words[3], words[4])?,
                backend: socket(words[5], words[6])?,
            })
        })
        .collect()
}

/// `/proc/net/ip_vs` (`ip_vs_info_seq_show`): real servers are the lines that
/// start with `->` and an address of hexadecimal digits.
fn parse_real_servers(text: &str) -> HashSet<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            if words.next() != Some("->") {
                return None;
            }
            let (address, port) = words.next()?.rsplit_once(':')?;
            socket(address, port)
        })
        .collect()
}

/// Both files print IPv4 as eight hexadecimal digits, IPv6 as usual (in
/// brackets in one of them), ports as hexadecimal.
fn socket(address: &str, port: &str) -> Option<SocketAddr> {
    let port = u16::from_str_radix(port, 16).ok()?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let ip = if address.contains(':') {
        IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)
    } else {
        IpAddr::V4(Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?))
    };
    Some(SocketAddr::new(ip, port))
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
        let servers = "IP Virtual Server version 1.2.1 (size=4096)\n\
                       Prot LocalAddress:Port Scheduler Flags\n  \
                       -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
                       UDP  0A60000A:0035 rr\n  -> 0AF40002:0035      Masq    1      0          1\n";
        let servers = parse_real_servers(servers);
        assert_eq!(servers, HashSet::from(["10.244.0.2:53".parse().unwrap()]));
    }

    #[test]
    fn rubbish_is_skipped() {
        assert!(parse_connections("UDP x y z\nUDP 1 2 3 4 5 6 7 8\n").len() <= 1);
        assert!(parse_real_servers("-> nothing\n->\n").is_empty());
    }
}
