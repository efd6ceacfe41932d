//! Who asked whom: addresses, tuples and the key that matches an answer to its
//! query.

use crate::KernelNs;

/// An IP address as four network-order words; IPv4 in its IPv4-mapped IPv6
/// form (`::ffff:a.b.c.d`), so that one key serves both families.
pub type Address = [u32; 4];

/// The third word of an IPv4-mapped address, in memory order.
pub const V4_MAPPED_WORD: u32 = 0x0000_ffff_u32.to_be();

/// The IPv4-mapped form of a network-order IPv4 address.
#[inline(always)]
#[must_use]
pub fn v4_mapped(network_order: u32) -> Address {
    [0, 0, V4_MAPPED_WORD, network_order]
}

/// Whether an address is only unique inside its network namespace: loopback
/// (127/8, ::1) and link-local (169.254/16, fe80::/10).
#[inline(always)]
#[must_use]
pub fn is_namespace_local(address: &Address) -> bool {
    let first = u32::from_be(address[0]);
    if address[0] == 0 && address[1] == 0 {
        let last = u32::from_be(address[3]);
        if address[2] == V4_MAPPED_WORD {
            return last >> 24 == 127 || last >> 16 == 0xa9fe;
        }
        return address[2] == 0 && last == 1;
    }
    first >> 22 == 0xfe80 >> 6
}

/// Which end of a transaction this node sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// The process that asked runs here.
    Client = 0,
    /// The DNS server that answers runs here.
    Server = 1,
}

/// What carries a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Transport {
    /// One message per datagram.
    #[default]
    Udp = 0,
    /// Messages behind their lengths, any number per connection (RFC 7766).
    Tcp = 1,
}

impl Transport {
    /// The transport with that number; UDP for any other.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        if number == Self::Tcp as u8 { Self::Tcp } else { Self::Udp }
    }
}

/// One direction of a UDP flow. Ports in host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Tuple {
    /// Sender's address.
    pub source: Address,
    /// Receiver's address.
    pub destination: Address,
    /// Sender's port.
    pub source_port: u16,
    /// Receiver's port.
    pub destination_port: u16,
}

/// What identifies one query until its answer comes. The server's address is
/// part of it because one socket may send one id to several servers at once
/// (musl's resolver does).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C, align(8))]
pub struct QueryKey {
    /// The asking side's port, host order.
    pub client_port: u16,
    /// The port that was asked, host order.
    pub server_port: u16,
    /// The DNS transaction id.
    pub id: u16,
    /// A [`Role`]: the two ends of one transaction are two entries.
    pub role: u8,
    /// A [`Transport`]: a query repeated over TCP is another one.
    pub transport: u8,
    /// Network namespace inode where the client's address is not unique on the
    /// node ([`is_namespace_local`]), else 0.
    pub netns: u32,
    /// Padding, zero.
    pub pad: u32,
    /// The asking side's address.
    pub client: Address,
    /// The address that was asked, before any translation.
    pub server: Address,
}

/// A [`QueryKey`] as the programs handle it.
pub type KeyWords = [u64; 6];

impl QueryKey {
    /// The same in words.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> KeyWords {
        // SAFETY: as large, and without padding but that with a name.
        unsafe { core::mem::transmute(*self) }
    }

    /// The key with these words.
    #[inline(always)]
    #[must_use]
    pub const fn from_words(words: KeyWords) -> Self {
        // SAFETY: as large, and any bits are a key.
        unsafe { core::mem::transmute(words) }
    }
}

/// State of a query in flight.
pub mod state {
    /// Sent; no answer yet.
    pub const SENT: u32 = 0;
    /// An answer was put on the receiving socket's queue.
    pub const ANSWERED: u32 = 1;
}

/// A process's command as the kernel keeps it (`task_struct.comm`), in two words
/// so that copies are two instructions; all zero: not recorded.
pub type Command = [u64; 2];

/// The bytes of a command, zero-padded.
#[must_use]
pub fn command_bytes(command: Command) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&command[0].to_ne_bytes());
    bytes[8..].copy_from_slice(&command[1].to_ne_bytes());
    bytes
}

/// One query that waits for its answer or, answered, for its reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct InFlight {
    /// Client role: when it was sent. Server role: when it was queued on the
    /// server's socket.
    pub start_ns: KernelNs,
    /// Client role: when the answer was queued on the client's socket.
    /// Server role: when the server read the query. 0: not yet.
    pub middle_ns: KernelNs,
    /// When a device last took the packet for transmission. 0: not seen.
    pub device_ns: KernelNs,
    /// cgroup v2 id of the socket's cgroup. 0: unknown.
    pub cgroup: u64,
    /// Opaque identity of the socket (its address), for "same socket" only.
    pub socket: u64,
    /// Command of the sender, where its cgroup is the root: there it is all
    /// that tells one process from another.
    pub command: Command,
    /// Network namespace inode of the socket.
    pub netns: u32,
    /// Process id (thread group) of the sender. 0: unknown (softirq).
    pub tgid: u32,
    /// Interface index of that device, in `device_netns`.
    pub device_ifindex: u32,
    /// Network namespace inode of that device.
    pub device_netns: u32,
    /// One of [`state`].
    pub state: u32,
    /// The answer's header flags once answered.
    pub answer_flags: u16,
    /// What conntrack made of the packet where it was seen last: 1 + `enum
    /// ip_conntrack_info`; 0: it had no entry.
    pub conntrack_info: u16,
    /// Addresses of the packet where it was seen last, by that device or where
    /// it was dropped: behind every translation on its way. All zero: nowhere
    /// yet.
    pub left_as: Tuple,
    /// Which aggregate it counts in: its place in the programs' `STATS`.
    pub stats: u32,
}

const _: () = assert!(size_of::<QueryKey>() == size_of::<KeyWords>());
const _: () = assert!(size_of::<Tuple>() == 36);
const _: () = assert!(size_of::<InFlight>() == 120);

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(a: u8, b: u8, c: u8, d: u8) -> Address {
        v4_mapped(u32::from_ne_bytes([a, b, c, d]))
    }

    #[test]
    fn mapped_addresses_have_the_bytes_of_rfc_4291() {
        let bytes: Vec<u8> = v4(10, 0, 0, 1).iter().flat_map(|w| w.to_ne_bytes()).collect();
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]);
    }

    #[test]
    fn only_loopback_and_link_local_need_their_namespace() {
        assert!(is_namespace_local(&v4(127, 0, 0, 53)));
        assert!(is_namespace_local(&v4(169, 254, 20, 10)));
        assert!(!is_namespace_local(&v4(10, 244, 0, 11)));
        assert!(is_namespace_local(&[0, 0, 0, 1_u32.to_be()]));
        assert!(is_namespace_local(&[0xfe80_0000_u32.to_be(), 0, 0, 5]));
        assert!(!is_namespace_local(&[0xfd00_0000_u32.to_be(), 0, 0, 5]));
    }

    #[test]
    fn the_edges_of_the_local_ranges_are_exact() {
        let v6 = |first: u32| [first.to_be(), 0, 0, 1_u32.to_be()];
        assert!(is_namespace_local(&v6(0xfebf_ffff)));
        assert!(!is_namespace_local(&v6(0xfec0_0000)));
        assert!(!is_namespace_local(&v6(0xfe7f_ffff)));
        assert!(is_namespace_local(&v4(127, 255, 255, 255)));
        assert!(!is_namespace_local(&v4(126, 255, 255, 255)));
        assert!(!is_namespace_local(&v4(128, 0, 0, 0)));
        assert!(!is_namespace_local(&v4(169, 253, 0, 1)));
        assert!(!is_namespace_local(&v4(169, 255, 0, 1)));
    }

    #[test]
    fn addresses_that_only_look_like_loopback_are_not_local() {
        assert!(!is_namespace_local(&[0, 0, 0, 0]));
        assert!(!is_namespace_local(&[0, 0, 0, 2_u32.to_be()]));
        assert!(!is_namespace_local(&[0, 1, 0, 1_u32.to_be()]));
        assert!(!is_namespace_local(&[0, 0, 0, u32::from_ne_bytes([127, 0, 0, 1])]));
    }

    #[test]
    fn keys_have_no_padding_without_a_name() {
        const ADDRESS: usize = size_of::<Address>();
        assert_eq!(size_of::<Tuple>(), 2 * ADDRESS + 2 + 2);
        assert_eq!(size_of::<QueryKey>(), 2 * ADDRESS + 2 + 2 + 2 + 1 + 1 + 4 + 4);
        assert_eq!(
            size_of::<InFlight>(),
            5 * 8 + size_of::<Command>() + 5 * 4 + 2 + 2 + size_of::<Tuple>() + 4
        );
    }

    #[test]
    fn the_two_ends_of_a_query_have_different_keys() {
        let end = |role: Role| QueryKey { role: role as u8, ..QueryKey::default() };
        assert_ne!(end(Role::Client), end(Role::Server));
        assert_eq!((Role::Client as u8, Role::Server as u8), (0, 1));
    }
}
