//! Names of services in nftables: comments in the rules that iptables-nft writes,
//! and chains in kube-proxy's own nftables mode.

use std::net::SocketAddr;

use super::{
    NFNL_SUBSYS_NFTABLES, NFPROTO_IPV4, NFPROTO_IPV6, NFT_MSG_GETRULE, NFT_MSG_GETSETELEM,
    expression::{Expression, Load, Verdict},
    is_in_kernel,
    ruleset::{Data, NFGENMSG_BYTES, Ruleset},
    with_zero,
};
use crate::{
    identity::{RemoteSource, ServiceFact},
    kernel::{
        netlink::{Message, Netlink, NetlinkError, attribute},
        services::{
            names::{CHAIN, from_chain},
            xtables::{address_of, from_matches},
        },
    },
};

/// Tables of iptables-nft in which kube-proxy has rules per service.
const TABLES: [&[u8]; 2] = [b"nat", b"filter"];
/// kube-proxy's own table, and its map from address, protocol and port to the
/// chain of a service.
const KUBE_PROXY: (&[u8], &[u8]) = (b"kube-proxy", b"service-ips");
/// A port behind an address and a protocol in a map's key; each part begins at a
/// multiple of four.
const PROTOCOL_BYTES: usize = 4;
/// Destination address and port in their headers.
const DESTINATION: [usize; 2] = [16, 24];
const DESTINATION_PORT: usize = 2;

/// Every service that has a name; empty where nothing can be read.
pub(in crate::kernel::services) fn read_names() -> Vec<ServiceFact> {
    let mut services = Vec::new();
    if !is_in_kernel() {
        return services;
    }
    let Ok(mut netlink) = Netlink::open(libc::NETLINK_NETFILTER) else { return services };
    for family in [NFPROTO_IPV4, NFPROTO_IPV6] {
        for table in TABLES {
            // A table or chain that is not there is an empty dump, or refused.
            let attributes = [(1, table), (2, CHAIN)];
            let _ = dump(&mut netlink, NFT_MSG_GETRULE, family, attributes, |message| {
                services.extend(in_rules(&[message])?);
                Ok(())
            });
        }
        let attributes = [(1, KUBE_PROXY.0), (2, KUBE_PROXY.1)];
        let _ = dump(&mut netlink, NFT_MSG_GETSETELEM, family, attributes, |message| {
            services.extend(in_elements(&[message])?);
            Ok(())
        });
    }
    services
}

/// Hands over messages one by one, so that a large table is never in memory as a
/// whole.
fn dump(
    netlink: &mut Netlink,
    kind: u16,
    family: u8,
    attributes: [(u16, &[u8]); 2],
    each: impl FnMut(Message) -> Result<(), NetlinkError>,
) -> Result<(), NetlinkError> {
    let mut body = [family, 0, 0, 0][..NFGENMSG_BYTES].to_vec();
    for (number, text) in attributes {
        body.extend(attribute(number, &with_zero(text)));
    }
    netlink.dump_each(NFNL_SUBSYS_NFTABLES << 8 | kind, &body, each).map(drop)
}

/// Services in rules of iptables-nft.
pub(in crate::kernel::services) fn in_rules(
    messages: &[Message],
) -> Result<Vec<ServiceFact>, NetlinkError> {
    let mut rules = Ruleset::default();
    rules.add_rules(messages)?;
    let of_chain = rules.chains.iter().filter(|((_, chain), _)| chain == CHAIN);
    Ok(of_chain.flat_map(|(_, rules)| rules).filter_map(|rule| in_rule(rule)).collect())
}

fn in_rule(rule: &[Expression]) -> Option<ServiceFact> {
    let (mut ip, mut port) = (None, None);
    for pair in rule.windows(2) {
        let [
            Expression::Load { what, into, length },
            Expression::Compare { register, equal, value },
        ] = pair
        else {
            continue;
        };
        // Less than the whole, or another register: not what it looks like.
        if into != register || !equal || *length != value.len() {
            continue;
        }
        match what {
            Load::Network { offset } if DESTINATION.contains(offset) => ip = address_of(value),
            Load::Transport { offset: DESTINATION_PORT } => {
                port = Some(u16::from_be_bytes(*value.first_chunk().filter(|_| *length == 2)?));
            }
            _ => {}
        }
    }
    let matches = rule.iter().filter_map(|expression| match expression {
        Expression::XtMatch { name, info } => Some((&name[..], &info[..])),
        _ => None,
    });
    let (name, port_of_match) = from_matches(matches)?;
    let address = SocketAddr::new(ip?, port.or(port_of_match)?);
    Some(ServiceFact { address, name: Some(name), source: RemoteSource::Nftables })
}

/// Services in kube-proxy's map.
pub(in crate::kernel::services) fn in_elements(
    messages: &[Message],
) -> Result<Vec<ServiceFact>, NetlinkError> {
    let mut elements = Ruleset::default();
    elements.add_elements(messages)?;
    let map =
        elements.sets.iter().filter(|((table, set), _)| (&table.name[..], &set[..]) == KUBE_PROXY);
    Ok(map
        .flat_map(|(_, set)| &set.elements)
        .filter_map(|element| {
            let Data::Verdict(Verdict::Chain(chain)) = &element.data else { return None };
            let key = element.key.as_ref()?;
            let (address, rest) =
                key.split_at_checked(key.len().checked_sub(2 * PROTOCOL_BYTES)?)?;
            let port = u16::from_be_bytes(*rest.get(PROTOCOL_BYTES..)?.first_chunk()?);
            let address = SocketAddr::new(address_of(address)?, port);
            let name = Some(from_chain(chain)?);
            Some(ServiceFact { address, name, source: RemoteSource::Nftables })
        })
        .collect())
}
