//! What a NAT rule does to a query's destination, and the query it is asked
//! about. Shared by every way of writing such rules.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

use super::Source;

/// A UDP packet of one IP family as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) is_v6: bool,
    /// Where it is sent; `None` stands for any destination.
    pub(super) destination: Option<SocketAddr>,
}

/// The address a destination is rewritten to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// One from here to there.
    Range(IpAddr, IpAddr),
    /// It stays as it is.
    Kept,
    /// The node's own address on whatever device the packet comes in.
    Local,
}

/// One possible rewriting of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Translation {
    pub(super) address: Address,
    /// `None`: the port stays as it is.
    pub(super) ports: Option<RangeInclusive<u16>>,
}

impl Translation {
    /// Whether it can make `backend` of the packet's destination; an address
    /// of the node itself counts as any.
    pub(super) fn can_give(&self, packet: Packet, backend: SocketAddr) -> bool {
        let kept = |same: fn(SocketAddr, SocketAddr) -> bool| {
            packet.destination.is_none_or(|destination| same(destination, backend))
        };
        let address = match self.address {
            Address::Range(first, last) => (first..=last).contains(&backend.ip()),
            Address::Kept => kept(|a, b| a.ip() == b.ip()),
            Address::Local => true,
        };
        let port = match &self.ports {
            Some(ports) => ports.contains(&backend.port()),
            None => kept(|a, b| a.port() == b.port()),
        };
        address && port
    }

    /// The one address it makes of the packet's destination, if it is one.
    pub(super) fn backend(&self, packet: Packet) -> Option<SocketAddr> {
        let address = match self.address {
            Address::Range(first, last) if first == last => first,
            Address::Kept => packet.destination?.ip(),
            Address::Range(..) | Address::Local => return None,
        };
        let port = match &self.ports {
            Some(ports) if ports.start() == ports.end() => *ports.start(),
            Some(_) => return None,
            None => packet.destination?.port(),
        };
        Some(SocketAddr::new(address, port))
    }
}

/// Everything that rules may do to a packet.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) translations: Vec<(Source, Translation)>,
    /// Rules whose outcome cannot be told, in words.
    pub(super) unclear: Vec<String>,
}

impl Found {
    pub(super) fn add(&mut self, source: Source, translation: Translation) {
        self.translations.push((source, translation));
    }

    pub(super) fn unclear(&mut self, reason: String) {
        if !self.unclear.contains(&reason) {
            self.unclear.push(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: Packet = Packet { is_v6: false, destination: None };

    fn to(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_a_rule_leaves_out_stays_as_it_was() {
        let packet = Packet { destination: Some(to("10.96.0.10:53")), ..PACKET };
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let only_address = Translation {
            address: Address::Range(address("10.244.0.2"), address("10.244.0.2")),
            ports: None,
        };
        assert_eq!(only_address.backend(packet), Some(to("10.244.0.2:53")));
        assert_eq!(only_address.backend(PACKET), None);
        assert!(only_address.can_give(PACKET, to("10.244.0.2:9")));
        assert!(!only_address.can_give(packet, to("10.244.0.2:9")));
        let only_port = Translation { address: Address::Kept, ports: Some(5353..=5353) };
        assert_eq!(only_port.backend(packet), Some(to("10.96.0.10:5353")));
        let range = Translation {
            address: Address::Range(address("10.0.0.1"), address("10.0.0.9")),
            ports: Some(53..=54),
        };
        assert_eq!(range.backend(packet), None);
        assert!(range.can_give(packet, to("10.0.0.5:54")));
        assert!(!range.can_give(packet, to("10.0.0.10:54")));
    }
}
