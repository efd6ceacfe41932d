//! A packet's conntrack entry (`struct nf_conn`, include/net/netfilter/nf_conntrack.h).

use dnsprobe_common::{
    config::NO_FIELD,
    flow::{Address, Tuple, V4_MAPPED_WORD},
};

use crate::{
    constants::{Place, offset},
    memory::{Pointer, Raw},
};

/// The low bits of `sk_buff._nfct` hold `enum ip_conntrack_info`.
const INFO_MASK: u64 = 7;
const AF_INET: u16 = 2;
/// `struct nf_conntrack_tuple`: address, port and family, then address, port,
/// protocol and direction. User space has made sure of it; where the kernel has
/// another layout, conntrack entries count as unreadable.
const TUPLE_WORDS: usize = 10;

/// The entry a packet is tracked by; null when it is not, or when this
/// kernel's conntrack layout is unknown.
#[inline(always)]
pub(crate) fn of<P: Pointer>(skb: P) -> Raw {
    if offset!(sk_buff_nfct).bytes() == NO_FIELD as usize {
        return Raw(0);
    }
    let nfct: u64 = skb.field(offset!(sk_buff_nfct));
    Raw(nfct & !INFO_MASK)
}

/// What the packet is to its entry (`enum ip_conntrack_info`); only where it has
/// one.
#[inline(always)]
pub(crate) fn info<P: Pointer>(skb: P) -> u16 {
    let nfct: u64 = skb.field(offset!(sk_buff_nfct));
    (nfct & INFO_MASK) as u16
}

/// Status bits (`enum ip_conntrack_status`).
#[inline(always)]
pub(crate) fn status(entry: Raw) -> u32 {
    entry.field::<u64>(offset!(nf_conn_status)) as u32
}

/// Whether it changes an address or port of its packets.
#[inline(always)]
pub(crate) fn is_translated(entry: Raw) -> bool {
    // IPS_SRC_NAT and IPS_DST_NAT, include/uapi/linux/netfilter/nf_conntrack_common.h.
    const NAT: u32 = 1 << 4 | 1 << 5;
    status(entry) & NAT != 0
}

/// One direction of an entry: 0 original, 1 reply.
#[inline(always)]
pub(crate) fn tuple(entry: Raw, direction: u64) -> Tuple {
    let hash = entry.0
        + offset!(nf_conn_tuplehash).bytes() as u64
        + direction * offset!(tuplehash_size).bytes() as u64;
    let tuple = Raw(hash + offset!(tuplehash_tuple).bytes() as u64);
    // One read: each costs a call.
    let words: [u32; TUPLE_WORDS] = tuple.field(0);
    let [a, b, c, d, from, e, f, g, h, to] = words;
    let (from, to) = (from.to_ne_bytes(), to.to_ne_bytes());
    let family = u16::from_ne_bytes([from[2], from[3]]);
    Tuple {
        source: address([a, b, c, d], family),
        destination: address([e, f, g, h], family),
        source_port: u16::from_be_bytes([from[0], from[1]]),
        destination_port: u16::from_be_bytes([to[0], to[1]]),
    }
}

/// The entry that a `struct nf_conntrack_tuple_hash` belongs to.
#[inline(always)]
pub(crate) fn of_tuple_hash(hash: Raw) -> Raw {
    let tuple = Raw(hash.0 + offset!(tuplehash_tuple).bytes() as u64);
    let direction: u8 = tuple.field(offset!(tuple_dst_dir));
    let index = u64::from(direction & 1);
    Raw(hash.0
        - offset!(nf_conn_tuplehash).bytes() as u64
        - index * offset!(tuplehash_size).bytes() as u64)
}

/// An IPv4 address fills only the first word of `union nf_inet_addr`.
#[inline(always)]
pub(crate) fn address(words: [u32; 4], family: u16) -> Address {
    if family == AF_INET { [0, 0, V4_MAPPED_WORD, words[0]] } else { words }
}
