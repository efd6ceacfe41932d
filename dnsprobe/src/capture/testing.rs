//! Packets for the tests of this room and of the one that reads them from the kernel.

use std::net::SocketAddr;

use dnsprobe_common::capture::Point;

use super::{Packet, Seen};
use crate::time::Timestamp;

pub(crate) const CLIENT: &str = "10.244.0.10:40000";
pub(crate) const SERVER: &str = "10.244.0.2:53";

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// `www.example.org. A`.
const QUESTION: &[u8] = b"\x03www\x07example\x03org\0\0\x01\0\x01";

/// A query of [`CLIENT`] to [`SERVER`] as it lies in memory where it is sent: length
/// and checksum of the IP header are rubbish, that of UDP is the device's to complete.
pub(crate) fn query_packet() -> Vec<u8> {
    let mut packet = vec![
        0x45, 0, 0xde, 0xad, 0x12, 0x34, 0x40, 0, 64, 17, 0xbe, 0xef, 10, 244, 0, 10, 10, 244, 0,
        2, 0x9c, 0x40, 0, 53, 0, 41, 0x16, 0x2e, 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0,
    ];
    packet.extend(QUESTION);
    packet
}

/// Its answer, NXDOMAIN.
pub(crate) const ANSWER: &[u8] = &[
    0x45, 0, 0, 61, 0, 1, 0x40, 0, 64, 17, 0x24, 0xbc, 10, 244, 0, 2, 10, 244, 0, 10, 0, 53, 0x9c,
    0x40, 0, 41, 0, 0, 0x12, 0x34, 0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0, 3, b'w', b'w', b'w', 7,
    b'e', b'x', b'a', b'm', b'p', b'l', b'e', 3, b'o', b'r', b'g', 0, 0, 1, 0, 1,
];

/// A query over IPv6, its length not filled in.
pub(crate) const V6_QUERY: &[u8] = &[
    0x60, 0, 0, 0, 0, 0, 17, 64, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xfd, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x9c, 0x40, 0, 53, 0, 25, 0, 0, 0, 7, 1, 0, 0, 1, 0, 0, 0,
    0, 0, 0, 0, 0, 1, 0, 1,
];

/// A packet captured so many milliseconds after the epoch.
pub(crate) fn seen(point: Point, bytes: &[u8], at_ms: u64) -> Seen {
    let len = u32::try_from(bytes.len()).unwrap();
    Seen {
        packet: Packet::new(at_ms * 1_000_000, 0, point, bytes, len).unwrap(),
        time: at(at_ms),
        owner: None,
    }
}

/// So many milliseconds after the epoch.
pub(crate) fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix_ns(ms * 1_000_000)
}
