//! The x_tables extensions that decide where a UDP packet goes. iptables-nft
//! puts the same structures into nftables rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::kernel::services::translation::{Address, Packet, Translation};

// include/uapi/linux/netfilter/nf_nat.h
const NF_NAT_RANGE_MAP_IPS: u32 = 1;
const NF_NAT_RANGE_PROTO_SPECIFIED: u32 = 2;
/// `XT_UDP_INV_DSTPT` (include/uapi/linux/netfilter/xt_tcpudp.h).
const XT_UDP_INV_DSTPT: u8 = 2;

/// What a target does to a packet's destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kernel::services) enum Effect {
    /// Nothing.
    None,
    /// This.
    Translate(Translation),
    /// Something, but its data are not understood.
    Unclear,
}

/// Whether an extension may match the packet; those not known here may.
pub(in crate::kernel::services) fn may_match(name: &[u8], info: &[u8], packet: Packet) -> bool {
    let (b"udp", Some(destination), Some(info)) =
        (name, packet.destination, info.first_chunk::<9>())
    else {
        return true;
    };
    // struct xt_udp: two source ports, two destination ports, flags.
    let port = |at: usize| u16::from_ne_bytes([info[at], info[at + 1]]);
    let inside = (port(4)..=port(6)).contains(&destination.port());
    inside != (info[8] & XT_UDP_INV_DSTPT != 0)
}

/// The effect of a target extension.
pub(in crate::kernel::services) fn effect(
    name: &[u8],
    revision: u32,
    info: &[u8],
    is_v6: bool,
) -> Effect {
    let range = match (name, revision, is_v6) {
        (b"DNAT" | b"REDIRECT", 0, false) => range_v4(info),
        (b"DNAT", 1 | 2, _) | (b"REDIRECT", 0, true) => range(info, is_v6),
        // Rewrites the network part of any address.
        (b"DNAT" | b"REDIRECT" | b"NETMAP", ..) => None,
        _ => return Effect::None,
    };
    match (range, name) {
        (None, _) => Effect::Unclear,
        (Some(range), b"REDIRECT") => {
            Effect::Translate(Translation { address: Address::Local, ports: range.ports })
        }
        (Some(range), _) => Effect::Translate(range),
    }
}

/// `struct nf_nat_ipv4_multi_range_compat`, which always holds one range:
/// count, flags, first and last address, first and last port.
fn range_v4(info: &[u8]) -> Option<Translation> {
    let info = info.first_chunk::<20>()?;
    let address =
        |at: usize| IpAddr::V4(Ipv4Addr::new(info[at], info[at + 1], info[at + 2], info[at + 3]));
    let port = |at: usize| u16::from_be_bytes([info[at], info[at + 1]]);
    let flags = u32::from_ne_bytes([info[4], info[5], info[6], info[7]]);
    Some(translation(flags, (address(8), address(12)), (port(16), port(18))))
}

/// `struct nf_nat_range` and `struct nf_nat_range2`, which begins alike:
/// flags, first and last address of 16 bytes, first and last port.
fn range(info: &[u8], is_v6: bool) -> Option<Translation> {
    let info = info.first_chunk::<40>()?;
    let address = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = info.get(at..at + 16)?.try_into().ok()?;
        Some(if is_v6 {
            IpAddr::V6(Ipv6Addr::from(bytes))
        } else {
            IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]))
        })
    };
    let port = |at: usize| u16::from_be_bytes([info[at], info[at + 1]]);
    let flags = u32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
    Some(translation(flags, (address(4)?, address(20)?), (port(36), port(38))))
}

fn translation(flags: u32, addresses: (IpAddr, IpAddr), ports: (u16, u16)) -> Translation {
    let has = |flag| flags & flag != 0;
    Translation {
        address: if has(NF_NAT_RANGE_MAP_IPS) {
            Address::Range(addresses.0, addresses.1)
        } else {
            Address::Kept
        },
        ports: has(NF_NAT_RANGE_PROTO_SPECIFIED).then_some(ports.0..=ports.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_data_of_a_nat_target_are_unclear_and_others_do_nothing() {
        assert_eq!(effect(b"DNAT", 2, &[0; 39], false), Effect::Unclear);
        assert_eq!(effect(b"DNAT", 0, &[0; 19], false), Effect::Unclear);
        assert_eq!(effect(b"DNAT", 9, &[0; 99], false), Effect::Unclear);
        assert_eq!(effect(b"NETMAP", 0, &[0; 40], false), Effect::Unclear);
        assert_eq!(effect(b"MASQUERADE", 0, &[], false), Effect::None);
    }

    #[test]
    fn an_inverted_port_matches_all_others() {
        let destination = Some("10.96.0.10:53".parse().unwrap());
        let packet = Packet { is_v6: false, destination };
        let info = |flags| {
            let mut info = [0, 0, 0xff, 0xff, 0, 0, 0, 0, flags];
            info[4..6].copy_from_slice(&53_u16.to_ne_bytes());
            info[6..8].copy_from_slice(&53_u16.to_ne_bytes());
            info
        };
        assert!(may_match(b"udp", &info(0), packet));
        assert!(!may_match(b"udp", &info(XT_UDP_INV_DSTPT), packet));
        assert!(may_match(b"udp", &[], packet));
        assert!(may_match(b"statistic", &info(0), packet));
    }
}
