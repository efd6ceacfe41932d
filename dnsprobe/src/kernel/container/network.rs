//! A container's network from the inside: its addresses, and where its packets
//! can go. Nothing is sent.

use std::{
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    path::Path,
    thread,
};

use crate::setup::Reachability;

const DNS_PORT: u16 = 53;

/// Addresses of the network namespace of the process with this directory in
/// `/proc`, without loopback's.
#[must_use]
pub fn local_addresses(process: &Path) -> Vec<IpAddr> {
    let read = |name: &str| fs::read_to_string(process.join("net").join(name));
    let mut addresses = parse_fib_trie(&read("fib_trie").unwrap_or_default());
    addresses.extend(parse_if_inet6(&read("if_inet6").unwrap_or_default()));
    addresses.retain(|address| !address.is_loopback());
    addresses
}

/// Whether packets from that namespace can go to each nameserver.
#[must_use]
pub fn reachability(process: &Path, servers: &[IpAddr]) -> Vec<(IpAddr, Reachability)> {
    let routes = routes(process, servers);
    let locals = local_addresses(process);
    servers
        .iter()
        .zip(routes)
        .map(|(address, routed)| {
            let is_own = address.is_loopback() || locals.contains(address);
            let reachability = match routed {
                Reachability::Routed if is_own => match has_listener(process) {
                    Some(false) => Reachability::NobodyListens,
                    Some(true) => Reachability::Routed,
                    None => Reachability::Unknown,
                },
                other => other,
            };
            (*address, reachability)
        })
        .collect()
}

/// Looks the routes up in the process's namespace, on a thread that enters it
/// and ends there.
fn routes(process: &Path, servers: &[IpAddr]) -> Vec<Reachability> {
    let servers = servers.to_vec();
    let namespace = process.join("ns/net");
    let unknown = vec![Reachability::Unknown; servers.len()];
    let look_up = move || -> io::Result<Vec<Reachability>> {
        let namespace = File::open(namespace)?;
        // SAFETY: the descriptor is open; only this thread changes namespace.
        if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(servers.iter().map(|address| route(*address)).collect())
    };
    thread::spawn(look_up).join().ok().and_then(Result::ok).unwrap_or(unknown)
}

/// Connecting a UDP socket chooses a route and sends nothing.
fn route(address: IpAddr) -> Reachability {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A link-local address wants an interface, which the file may name.
    if matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
        return Reachability::Unknown;
    }
    let Ok(socket) = UdpSocket::bind(SocketAddr::new(any, 0)) else {
        return Reachability::Unknown;
    };
    match socket.connect(SocketAddr::new(address, DNS_PORT)) {
        Ok(()) => Reachability::Routed,
        Err(error) => match error.raw_os_error() {
            // No route; and the route types unreachable, prohibit, blackhole.
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL) => {
                Reachability::NoRoute(error.to_string())
            }
            _ => Reachability::Unknown,
        },
    }
}

/// Whether any UDP socket of the namespace is bound to port 53.
fn has_listener(process: &Path) -> Option<bool> {
    let read = |name: &str| fs::read_to_string(process.join("net").join(name)).ok();
    let listens = |text: String| parse_udp(&text);
    // Without IPv6 there is no second file.
    Some(listens(read("udp")?) || read("udp6").is_some_and(listens))
}

/// `/proc/net/udp` (net/ipv4/udp.c, `udp4_seq_show`): number, local address
/// and port in hexadecimal.
fn parse_udp(text: &str) -> bool {
    text.lines().any(|line| {
        let local = line.split_ascii_whitespace().nth(1).and_then(|word| word.rsplit_once(':'));
        local.is_some_and(|(_, port)| u16::from_str_radix(port, 16) == Ok(DNS_PORT))
    })
}

/// Local addresses in `/proc/net/fib_trie`: a line `|-- ADDRESS`, then a line
/// `/32 host LOCAL` (net/ipv4/fib_trie.c, `fib_trie_seq_show`).
fn parse_fib_trie(text: &str) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    let mut leaf: Option<Ipv4Addr> = None;
    for line in text.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
        } else if line.starts_with("/32 host LOCAL")
            && let Some(address) = leaf
            && !addresses.contains(&IpAddr::V4(address))
        {
            addresses.push(IpAddr::V4(address));
        }
    }
    addresses
}

/// `/proc/net/if_inet6`: addresses of 32 hexadecimal digits.
fn parse_if_inet6(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let digits = line.split_ascii_whitespace().next().filter(|word| word.len() == 32)?;
        Some(IpAddr::V6(Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?)))
    };
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_kernels_tables_give_addresses_and_listeners() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
            |-- 10.244.0.11\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n\
            Local:\n     |-- 10.244.0.11\n        /32 host LOCAL\n";
        let expected: Vec<IpAddr> =
            ["10.244.0.11", "127.0.0.1"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(parse_fib_trie(trie), expected);
        let inet6 = "fd000000000000000000000000000002 02 40 00 80     eth0\n";
        assert_eq!(parse_if_inet6(inet6), ["fd00::2".parse::<IpAddr>().unwrap()]);
        let udp = "  sl  local_address rem_address   st\n  9: 00000000:0035 00000000:0000 07\n";
        assert!(parse_udp(udp));
        assert!(!parse_udp(&udp.replace("0035", "0036")));
    }

    #[test]
    fn loopback_has_a_route_in_this_namespace() {
        let own = Path::new("/proc/self");
        let found = reachability(own, &["127.0.0.1".parse().unwrap()]);
        assert!(
            matches!(found[..], [(_, Reachability::Routed | Reachability::NobodyListens)])
                || matches!(found[..], [(_, Reachability::Unknown)]),
            "{found:?}"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[|\\-/ :0-9a-fLOCALhost\n.]{0,200}") {
            let _ = (parse_fib_trie(&text), parse_if_inet6(&text), parse_udp(&text));
        }
    }
}
