//! IPVS services and their real servers, from `/proc/net/ip_vs`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where the kernel publishes the table of this network namespace.
pub(crate) const PATH: &str = "/proc/net/ip_vs";

/// What clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// UDP to this address.
    Address(SocketAddr),
    /// Packets with this firewall mark: any address may be meant.
    Mark(u32),
}

/// A real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RealServer {
    pub(crate) address: SocketAddr,
    /// 0: it gets no new connections.
    pub(crate) weight: Option<i32>,
    /// Its connections: none of UDP is ever active.
    pub(crate) active: Option<u64>,
    /// Those that are not active, all of UDP among them.
    pub(crate) inactive: Option<u64>,
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) key: Key,
    pub(crate) real_servers: Vec<RealServer>,
}

/// Services for UDP in `/proc/net/ip_vs` (net/netfilter/ipvs/ip_vs_ctl.c,
/// `ip_vs_info_seq_show`): a line per service, below it a line `-> ADDRESS
/// FORWARD WEIGHT ACTIVE INACTIVE` per real server.
pub(crate) fn parse(text: &str) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    // Real servers of TCP and SCTP services are left out with their service.
    let mut wanted = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["->", address, rest @ ..] => {
                if let (true, Some(service), Some(address)) =
                    (wanted, services.last_mut(), endpoint(address))
                {
                    let number = |at: usize| rest.get(at).and_then(|word| word.parse().ok());
                    service.real_servers.push(RealServer {
                        address,
                        weight: rest.get(1).and_then(|weight| weight.parse().ok()),
                        active: number(2),
                        inactive: number(3),
                    });
                }
            }
            [protocol, address, ..] => {
                let key = match *protocol {
                    "UDP" => endpoint(address).map(Key::Address),
                    "FWM" => u32::from_str_radix(address, 16).ok().map(Key::Mark),
                    _ => None,
                };
                wanted = key.is_some();
                services.extend(key.map(|key| Service { key, real_servers: Vec::new() }));
            }
            _ => {}
        }
    }
    services
}

fn endpoint(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.rsplit_once(':')?;
    socket(address, port)
}

/// The kernel prints IPv4 as eight hexadecimal digits, IPv6 as usual (in
/// brackets in some of its files), ports as hexadecimal.
pub(super) fn socket(address: &str, port: &str) -> Option<SocketAddr> {
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
    use proptest::prelude::*;

    use super::*;

    const TABLE: &str = "IP Virtual Server version 1.2.1 (size=4096)\n\
        Prot LocalAddress:Port Scheduler Flags\n  \
        -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
        TCP  0A60000A:0035 rr\n  -> 0AF40009:0035      Masq    1      0          0\n\
        UDP  0A60000A:0035 rr\n  -> 0AF40002:0035      Masq    1      0          1\n  \
        -> 0AF40003:0035      Masq    0      0          0\n\
        UDP  [fd00:0000:0000:0000:0000:0000:0000:000a]:0035 rr\n  \
        -> [fd00:0000:0000:0000:0000:0000:0000:0002]:0035      Masq    7      0          0\n\
        FWM  00000001 rr\n  -> 0AF40004:0035      Route   1      0          0\n";

    #[test]
    fn real_servers_belong_to_their_service_and_have_weights() {
        let services = parse(TABLE);
        let server = |address: &str, weight, inactive| RealServer {
            address: address.parse().unwrap(),
            weight: Some(weight),
            active: Some(0),
            inactive: Some(inactive),
        };
        let service = |key: &str| Key::Address(key.parse().unwrap());
        assert_eq!(
            services,
            [
                Service {
                    key: service("10.96.0.10:53"),
                    real_servers: vec![
                        server("10.244.0.2:53", 1, 1),
                        server("10.244.0.3:53", 0, 0)
                    ],
                },
                Service {
                    key: service("[fd00::a]:53"),
                    real_servers: vec![server("[fd00::2]:53", 7, 0)],
                },
                Service { key: Key::Mark(1), real_servers: vec![server("10.244.0.4:53", 1, 0)] },
            ]
        );
    }

    #[test]
    fn rubbish_is_skipped() {
        assert!(
            parse("-> nothing\n->\nUDP\nUDP x\nFWM z rr\n -> 0AF40004:0035 Masq 1\n").is_empty()
        );
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[-> UDPFWM0-9A-F:\\[\\]\n]{0,200}") {
            let _ = parse(&text);
        }
    }
}
