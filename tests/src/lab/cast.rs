//! Who lives on the mini node, and under which addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::spec::{Spec, Wiring};

const fn pod(namespace: &'static str, name: &'static str, number: u8, wiring: Wiring) -> Spec {
    Spec { namespace, name, number, wiring }
}

/// DNS servers.
pub const COREDNS_0: Spec = pod("kube-system", "coredns-0", 2, Wiring::Both);
/// The second one.
pub const COREDNS_1: Spec = pod("kube-system", "coredns-1", 3, Wiring::Both);
/// A server that takes every query and answers none.
pub const COREDNS_DEAF: Spec = pod("kube-system", "coredns-deaf", 4, Wiring::PointToPoint);
/// A server pod without a server in it.
pub const COREDNS_GONE: Spec = pod("kube-system", "coredns-gone", 5, Wiring::PointToPoint);

/// The pod no fault is ever aimed at.
pub const CART: Spec = pod("shop", "cart-healthy", 10, Wiring::PointToPoint);
/// On the bridge, next to the servers: where the A/AAAA race happens.
pub const FRONTEND: Spec = pod("shop", "frontend-glibc", 11, Wiring::Bridge);
/// Resolves with Go.
pub const API: Spec = pod("shop", "api-go", 12, Wiring::PointToPoint);
/// Resolves with musl.
pub const WORKER: Spec = pod("legacy", "worker-musl", 13, Wiring::PointToPoint);
/// Its nameserver is an IPv6 address.
pub const WEB_V6: Spec = pod("shop", "web-ipv6", 14, Wiring::PointToPoint);
/// Asks through IPVS from a fixed port.
pub const IPVS_CLIENT: Spec = pod("batch", "ipvs-client", 15, Wiring::PointToPoint);
/// Musl with two nameservers.
pub const TWO_NAMESERVERS: Spec = pod("legacy", "musl-two-nameservers", 16, Wiring::PointToPoint);
/// Gets whatever a scenario has in store.
pub const VICTIM: Spec = pod("batch", "report", 17, Wiring::PointToPoint);

/// Everybody.
pub const ALL: [Spec; 12] = [
    COREDNS_0,
    COREDNS_1,
    COREDNS_DEAF,
    COREDNS_GONE,
    CART,
    FRONTEND,
    API,
    WORKER,
    WEB_V6,
    IPVS_CLIENT,
    TWO_NAMESERVERS,
    VICTIM,
];

/// The cluster's DNS service.
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// The same over IPv6.
pub const DNS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 10);
/// A second DNS service.
pub const SECOND_DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 11);
/// A second DNS service over IPv6.
pub const SECOND_DNS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 11);
/// A DNS service in IPVS mode.
pub const IPVS_DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 20);
/// A second DNS service in IPVS mode.
pub const SECOND_IPVS_DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 21);
/// The node-local cache.
pub const NODE_LOCAL_DNS: Ipv4Addr = Ipv4Addr::new(169, 254, 20, 10);
/// A stub resolver inside a pod.
pub const STUB_DNS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);
/// A resolver somewhere else, behind the uplink that swallows everything.
pub const REMOTE_RESOLVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 53);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_unique() {
        for (index, one) in ALL.iter().enumerate() {
            for other in &ALL[index + 1..] {
                assert_ne!(one.number, other.number);
                assert_ne!(one.name, other.name);
            }
        }
    }
}
