//! A packet as the capture programs hand it over: what is known of it, and its
//! first bytes. In a ring buffer of its own, which is as small as it can be while
//! nothing is captured.

use crate::{
    event::{Header, STACK},
    flow::{Command, Tuple},
};

/// Bytes kept of a packet in a small record; nearly all DNS packets fit.
pub const SHORT: usize = 512;

/// Bytes kept of a packet in a large record: the most there ever are.
pub const LONG: usize = 2_048;

/// Where a packet was captured; stands in [`Header::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Point {
    /// A socket sends it. The kernel fills in the IP header's length and checksum
    /// a moment later.
    Sent = 1,
    /// It is about to be put on a socket's queue.
    Queued = 2,
    /// The kernel frees it as dropped.
    Dropped = 3,
    /// A queueing discipline drops it (7.0; before, it is [`Self::Dropped`]).
    DroppedByQdisc = 4,
    /// A device takes it from its socket: where the kernel lets nothing else be
    /// hooked.
    TakenByDevice = 5,
    /// A device of the asking socket's namespace hands it in: as before.
    FromDevice = 6,
}

impl Point {
    /// Every point.
    pub const ALL: [Self; 6] = [
        Self::Sent,
        Self::Queued,
        Self::Dropped,
        Self::DroppedByQdisc,
        Self::TakenByDevice,
        Self::FromDevice,
    ];
}

/// What is known of a captured packet. The bytes follow, [`SHORT`] or [`LONG`] of
/// them, of which the first `kept` are the packet's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Captured {
    /// When and where; its kind is a [`Point`].
    pub header: Header,
    /// cgroup of the socket that sent or receives it; 0: none known.
    pub cgroup: u64,
    /// Return address in the function that freed it; 0: none.
    pub location: u64,
    /// Return addresses from there outwards, dnsprobe's own first; 0 ends them.
    pub stack: [u64; STACK],
    /// Command of the process that sends it; zero: not known.
    pub command: Command,
    /// Name of the device, zero-padded; zero: none.
    pub device_name: Command,
    /// Network namespace inode of the socket; 0: no socket known.
    pub netns: u32,
    /// Network namespace inode of the device; 0: none.
    pub device_netns: u32,
    /// Interface index of the device; 0: none.
    pub device_ifindex: u32,
    /// Process id (thread group) of the sender; 0: not known.
    pub tgid: u32,
    /// This kernel's number of the drop reason, in the list that `header.kind`
    /// says; 0: none.
    pub reason: u32,
    /// 1: `original` holds the original direction of its conntrack entry.
    pub has_conntrack: u32,
    /// Client and server before translation.
    pub original: Tuple,
    /// Bytes of the packet from its IP header on.
    pub packet_len: u32,
    /// How many of them are here.
    pub kept: u32,
    /// Padding, zero.
    pub pad: u32,
}

/// A record with its bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Record<const BYTES: usize> {
    /// What is known.
    pub captured: Captured,
    /// The packet from its IP header on; behind `kept` is rubbish.
    pub bytes: [u8; BYTES],
}

const _: () = assert!(size_of::<Captured>().is_multiple_of(8));
const _: () = assert!(size_of::<Record<SHORT>>() == size_of::<Captured>() + SHORT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_no_padding_without_a_name() {
        let numbers = 2 * 8 + STACK * 8 + 2 * 16 + 6 * 4 + 3 * 4;
        assert_eq!(size_of::<Captured>(), size_of::<Header>() + numbers + size_of::<Tuple>());
    }

    #[test]
    fn points_have_numbers_of_their_own() {
        for (index, point) in (1..).zip(Point::ALL) {
            assert_eq!(point as u32, index);
        }
    }
}
