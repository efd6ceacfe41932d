//! What the kernel has yet to fill in where a packet is captured: an IP header's
//! length and checksum where its socket sends it (net/ipv4/ip_output.c,
//! `__ip_local_out`; net/ipv6/output_core.c, `__ip6_local_out`), and a UDP checksum
//! that a device is to complete. The first is filled in, because no reader makes
//! sense of the packet without it; the second is left as it is. Both are said.

use std::borrow::Cow;

use dnsprobe_common::capture::Point;

use super::{
    Packet,
    packet::{UDP_HEADER, V6_HEADER},
};

/// A packet for a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rebuilt<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// Bytes of the packet on the wire.
    pub(super) len: u32,
    /// What is not as it was in memory.
    pub(super) filled_in: Option<&'static str>,
    /// Whether its UDP checksum is still to be completed.
    pub(super) checksum_open: bool,
}

/// Completes a packet.
pub(super) fn rebuild(packet: &Packet) -> Rebuilt<'_> {
    let mut rebuilt = Rebuilt {
        bytes: Cow::Borrowed(&packet.bytes),
        len: packet.len.max(u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX)),
        filled_in: None,
        checksum_open: is_checksum_open(&packet.bytes),
    };
    if packet.point != Point::Sent {
        return rebuilt;
    }
    let Ok(len) = u16::try_from(packet.len) else { return rebuilt };
    let bytes = rebuilt.bytes.to_mut();
    if is_v4(bytes) {
        let header = usize::from(bytes[0] & 0xf) * 4;
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        bytes[10..12].fill(0);
        let checksum = !sum(&bytes[..header]);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        rebuilt.filled_in = Some("total length and checksum of the IP header");
    } else {
        let payload = len.saturating_sub(V6_HEADER as u16);
        bytes[4..6].copy_from_slice(&payload.to_be_bytes());
        rebuilt.filled_in = Some("payload length of the IPv6 header");
    }
    rebuilt
}

/// Packets here have been read as a DNS message: their headers are complete.
fn is_v4(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first >> 4 == 4)
}

/// Whether the UDP checksum is the sum over addresses, protocol and length alone,
/// which the device adds the rest to (`CHECKSUM_PARTIAL`, include/linux/skbuff.h).
fn is_checksum_open(bytes: &[u8]) -> bool {
    let (addresses, header) = if is_v4(bytes) {
        (12..20, usize::from(bytes[0] & 0xf) * 4)
    } else {
        (8..V6_HEADER, V6_HEADER)
    };
    let (Some(addresses), Some(udp)) = (bytes.get(addresses), bytes.get(header..)) else {
        return false;
    };
    let Some(udp): Option<&[u8; UDP_HEADER]> = udp.first_chunk() else { return false };
    let [.., len_high, len_low, checksum_high, checksum_low] = *udp;
    let pseudo = [addresses, &[0, 17, len_high, len_low]].concat();
    sum(&pseudo) == u16::from_be_bytes([checksum_high, checksum_low])
}

/// The one's complement sum of RFC 1071.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]))
    });
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::testing::{ANSWER, V6_QUERY, query_packet, seen};

    #[test]
    fn a_sent_packet_gets_its_length_and_a_right_checksum() {
        let bytes = query_packet();
        let sent = seen(Point::Sent, &bytes, 0).packet;
        let rebuilt = rebuild(&sent);
        assert_eq!(rebuilt.bytes[2..4], 61_u16.to_be_bytes());
        assert_eq!(rebuilt.bytes[10..12], 0x1289_u16.to_be_bytes());
        assert_eq!(sum(&rebuilt.bytes[..20]), 0xffff);
        assert_eq!(rebuilt.bytes[12..], bytes[12..]);
        assert!(rebuilt.filled_in.is_some() && rebuilt.checksum_open);
    }

    #[test]
    fn elsewhere_a_packet_stays_as_it_is() {
        let packet = seen(Point::Dropped, ANSWER, 0).packet;
        let rebuilt = rebuild(&packet);
        assert_eq!(*rebuilt.bytes, *ANSWER);
        assert_eq!((rebuilt.filled_in, rebuilt.checksum_open), (None, false));
    }

    #[test]
    fn over_ipv6_the_length_is_without_the_header() {
        let packet = seen(Point::Sent, V6_QUERY, 0).packet;
        let rebuilt = rebuild(&packet);
        assert_eq!(rebuilt.bytes[4..6], u16::to_be_bytes(V6_QUERY.len() as u16 - 40));
        assert!(rebuilt.filled_in.is_some());
    }

    #[test]
    fn a_cut_packet_keeps_its_length() {
        let bytes = query_packet();
        let mut packet = seen(Point::Sent, &bytes, 0).packet;
        packet.len = 900;
        let rebuilt = rebuild(&packet);
        assert_eq!(rebuilt.len, 900);
        assert_eq!(rebuilt.bytes[2..4], 900_u16.to_be_bytes());
    }
}
