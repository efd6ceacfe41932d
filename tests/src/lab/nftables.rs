//! Services as kube-proxy's nftables mode sets them up: one map from service
//! addresses to chains, a random choice between endpoint chains, and a mark for
//! what is to be masqueraded.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use anyhow::Result;

use super::node::Node;
use super::spec::Spec;

/// A service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its address.
    pub address: Ipv4Addr,
    /// Where it leads.
    pub backends: Vec<Spec>,
    /// Whether its packets get the node's address as their source.
    pub masquerade: bool,
}

/// Replace kube-proxy's table by one with these services, in one transaction.
/// Conntrack entries stay.
pub fn load(node: &Node, services: &[Service]) -> Result<()> {
    node.namespace().run_with_input("nft -f -", &ruleset(services)).map(drop)
}

/// kube-proxy's mark for packets to masquerade.
const MARK: &str = "0x4000";

fn ruleset(services: &[Service]) -> String {
    let mut chains = String::new();
    let mut elements = Vec::new();
    for service in services {
        let Service { address, backends, masquerade } = service;
        elements.push(format!("{address} . udp . 53 : goto service-{address}"));
        let mut choices = Vec::new();
        for (index, backend) in backends.iter().enumerate() {
            let backend = backend.address();
            let endpoint = format!("endpoint-{address}-{backend}");
            choices.push(format!("{index} : goto {endpoint}"));
            // Writing to a String does not fail.
            let _ = writeln!(
                chains,
                " chain {endpoint} {{\n  meta l4proto udp dnat to {backend}:53\n }}"
            );
        }
        let mark = if *masquerade { "  jump mark-for-masquerade\n" } else { "" };
        let (count, choices) = (backends.len(), choices.join(", "));
        let _ = writeln!(
            chains,
            " chain service-{address} {{\n{mark}  numgen random mod {count} vmap {{ {choices} }}\n }}"
        );
    }
    let elements = elements.join(", ");
    format!(
        "table ip kube-proxy\ndelete table ip kube-proxy\ntable ip kube-proxy {{\n \
         chain mark-for-masquerade {{\n  meta mark set meta mark or {MARK}\n }}\n{chains} \
         map service-ips {{\n  type ipv4_addr . inet_proto . inet_service : verdict\n  \
         elements = {{ {elements} }}\n }}\n \
         chain services {{\n  ip daddr . meta l4proto . th dport vmap @service-ips\n }}\n \
         chain nat-prerouting {{\n  type nat hook prerouting priority dstnat\n  jump services\n }}\n \
         chain nat-output {{\n  type nat hook output priority -100\n  jump services\n }}\n \
         chain nat-postrouting {{\n  type nat hook postrouting priority srcnat\n  \
         meta mark and {MARK} == 0 return\n  meta mark set meta mark xor {MARK}\n  \
         masquerade fully-random\n }}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::cast::{COREDNS_0, COREDNS_1, DNS};

    #[test]
    fn a_service_goes_through_the_map_to_one_of_its_endpoints() {
        let service =
            Service { address: DNS, backends: vec![COREDNS_0, COREDNS_1], masquerade: true };
        let text = ruleset(&[service]);
        for part in [
            "elements = { 10.96.0.10 . udp . 53 : goto service-10.96.0.10 }",
            "numgen random mod 2 vmap { 0 : goto endpoint-10.96.0.10-10.244.0.2, 1 : goto endpoint-10.96.0.10-10.244.0.3 }",
            "chain endpoint-10.96.0.10-10.244.0.3 {\n  meta l4proto udp dnat to 10.244.0.3:53",
            "chain service-10.96.0.10 {\n  jump mark-for-masquerade\n",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
