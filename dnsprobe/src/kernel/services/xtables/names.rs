//! Names of services in iptables rules: kube-proxy puts them into comments.

use std::net::{IpAddr, SocketAddr};

use super::{Table, blob::until_zero, read_table};
use crate::{
    identity::{RemoteSource, ServiceFact},
    kernel::services::names::{CHAIN, from_comment},
};

/// Tables in which kube-proxy has rules per service: for those that have
/// endpoints, and for those that have none.
const TABLES: [&str; 2] = ["nat", "filter"];

/// The services of one IP family; empty where nothing can be read.
pub(in crate::kernel::services) fn read_names(is_v6: bool) -> Vec<ServiceFact> {
    TABLES
        .iter()
        .filter_map(|table| read_table(is_v6, table).ok())
        .flat_map(|table| named(&table))
        .collect()
}

pub(in crate::kernel::services) fn named(table: &Table) -> Vec<ServiceFact> {
    table
        .for_one_address(CHAIN)
        .filter_map(|(address, matches)| {
            let (name, port) =
                from_matches(matches.iter().map(|(name, info)| (&name[..], &info[..])))?;
            let address = SocketAddr::new(address_of(address)?, port?);
            Some(ServiceFact { address, name: Some(name), source: RemoteSource::Iptables })
        })
        .collect()
}

/// Name and port in a rule's matches: a comment, and one destination port.
pub(in crate::kernel::services) fn from_matches<'a>(
    matches: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Option<((String, String), Option<u16>)> {
    let (mut name, mut port) = (None, None);
    for (kind, info) in matches {
        match kind {
            b"comment" => name = from_comment(until_zero(info)),
            // struct xt_udp and xt_tcp begin alike: two source ports, then two
            // destination ports.
            b"udp" | b"tcp" => {
                let at = |at: usize| Some(u16::from_ne_bytes([*info.get(at)?, *info.get(at + 1)?]));
                let (first, last) = (at(4)?, at(6)?);
                port = (first == last).then_some(first);
            }
            _ => {}
        }
    }
    Some((name?, port))
}

/// An address as it stands in a packet.
pub(in crate::kernel::services) fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
