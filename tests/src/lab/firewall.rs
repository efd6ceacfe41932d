//! The node's netfilter rules: services as kube-proxy's iptables mode sets
//! them up, and whatever a fault needs on top. Loaded in one go, replacing
//! everything that was there.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;

use super::node::Node;
use super::spec::{BRIDGE_SUBNET, Spec};

/// How a service chooses a backend for a new flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// At random, as kube-proxy does it.
    Random,
    /// In turn, so that two flows in a row always part.
    InTurn,
    /// One flow in ten to the first.
    OneInTen,
}

/// A rule set for both families.
#[derive(Debug, Default)]
pub struct Rules {
    v4: BTreeMap<&'static str, Vec<String>>,
    v6: BTreeMap<&'static str, Vec<String>>,
    services: usize,
}

const TABLES: [(&str, &[&str]); 4] = [
    ("raw", &["PREROUTING", "OUTPUT"]),
    ("mangle", &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]),
    ("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
    ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
];

/// kube-proxy's mark for packets to masquerade.
const MASQUERADE: &str = "-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE";

impl Rules {
    /// A service address that is translated to one of `backends`.
    #[must_use]
    pub fn service(self, address: impl Into<IpAddr>, backends: &[Spec], balance: Balance) -> Self {
        let address = address.into();
        let targets: Vec<IpAddr> = backends
            .iter()
            .map(|spec| match address {
                IpAddr::V4(_) => spec.address().into(),
                IpAddr::V6(_) => spec.address_v6().into(),
            })
            .collect();
        self.translated("udp", &format!("-d {address}"), &targets, balance)
    }

    /// A service's port for TCP; IPv4.
    #[must_use]
    pub fn tcp_service(self, address: Ipv4Addr, backends: &[Spec]) -> Self {
        let targets: Vec<IpAddr> = backends.iter().map(|spec| spec.address().into()).collect();
        self.translated("tcp", &format!("-d {address}"), &targets, Balance::Random)
    }

    /// The same for clients on the bridge: translated to the servers' bridge
    /// addresses. Comes before the service for everybody else.
    #[must_use]
    pub fn bridge_service(self, address: Ipv4Addr, backends: &[Spec], balance: Balance) -> Self {
        let targets: Vec<IpAddr> =
            backends.iter().map(|spec| spec.bridge_address().into()).collect();
        let packets = format!("-s {BRIDGE_SUBNET} -d {address}");
        self.translated("udp", &packets, &targets, balance)
    }

    fn translated(
        mut self,
        protocol: &str,
        packets: &str,
        targets: &[IpAddr],
        balance: Balance,
    ) -> Self {
        let chain = format!("KUBE-SVC-{:08X}", self.services);
        self.services += 1;
        let mut lines = vec![
            format!(":{chain} - [0:0]"),
            format!("-A PREROUTING {packets} -p {protocol} --dport 53 -j {chain}"),
            format!("-A OUTPUT {packets} -p {protocol} --dport 53 -j {chain}"),
        ];
        for (index, target) in targets.iter().enumerate() {
            let left = targets.len() - index;
            let choice = match balance {
                _ if left == 1 => String::new(),
                Balance::Random => {
                    format!("-m statistic --mode random --probability {:.10} ", 1.0 / left as f64)
                }
                Balance::OneInTen => "-m statistic --mode nth --every 10 --packet 0 ".to_owned(),
                Balance::InTurn => format!("-m statistic --mode nth --every {left} --packet 0 "),
            };
            let target = match target {
                IpAddr::V4(v4) => format!("{v4}:53"),
                IpAddr::V6(v6) => format!("[{v6}]:53"),
            };
            lines.push(format!(
                "-A {chain} {choice}-p {protocol} -j DNAT --to-destination {target}"
            ));
        }
        let table = match targets.first() {
            Some(IpAddr::V6(_)) => &mut self.v6,
            _ => &mut self.v4,
        };
        table.entry("nat").or_default().extend(lines);
        self
    }

    /// One more rule (or `:CHAIN`) in iptables-restore's words.
    #[must_use]
    pub fn rule(mut self, table: &'static str, line: impl Into<String>) -> Self {
        self.v4.entry(table).or_default().push(line.into());
        self
    }

    /// The same for IPv6.
    #[must_use]
    pub fn rule_v6(mut self, table: &'static str, line: impl Into<String>) -> Self {
        self.v6.entry(table).or_default().push(line.into());
        self
    }

    /// Replace the node's rules by these.
    pub fn load(&self, node: &Node) -> Result<()> {
        let masquerade = ("nat", MASQUERADE);
        node.namespace().run_with_input(
            "iptables-legacy-restore",
            &restore_input(&self.v4, Some(masquerade)),
        )?;
        node.namespace()
            .run_with_input("ip6tables-legacy-restore", &restore_input(&self.v6, None))?;
        Ok(())
    }
}

/// Text for iptables-restore that empties every table and fills it anew.
fn restore_input(
    rules: &BTreeMap<&'static str, Vec<String>>,
    first: Option<(&str, &str)>,
) -> String {
    let mut text = String::new();
    for (table, chains) in TABLES {
        text += &format!("*{table}\n");
        for chain in chains {
            text += &format!(":{chain} ACCEPT [0:0]\n");
        }
        let lines = rules.get(table).map_or(&[][..], Vec::as_slice);
        // Chains must be declared before the first rule.
        for line in lines.iter().filter(|line| line.starts_with(':')) {
            text += &format!("{line}\n");
        }
        if let Some((_, rule)) = first.filter(|(of, _)| *of == table) {
            text += &format!("{rule}\n");
        }
        for line in lines.iter().filter(|line| !line.starts_with(':')) {
            text += &format!("{line}\n");
        }
        text += "COMMIT\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::cast::{COREDNS_0, COREDNS_1, DNS};

    #[test]
    fn a_service_looks_as_kube_proxy_makes_it() {
        let rules = Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random);
        let text = restore_input(&rules.v4, None);
        let nat = text.split("*nat\n").nth(1).unwrap().split("COMMIT").next().unwrap();
        assert_eq!(
            nat,
            ":PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
             :POSTROUTING ACCEPT [0:0]\n:KUBE-SVC-00000000 - [0:0]\n\
             -A PREROUTING -d 10.96.0.10 -p udp --dport 53 -j KUBE-SVC-00000000\n\
             -A OUTPUT -d 10.96.0.10 -p udp --dport 53 -j KUBE-SVC-00000000\n\
             -A KUBE-SVC-00000000 -m statistic --mode random --probability 0.5000000000 -p udp \
             -j DNAT --to-destination 10.244.0.2:53\n\
             -A KUBE-SVC-00000000 -p udp -j DNAT --to-destination 10.244.0.3:53\n"
        );
    }
}
