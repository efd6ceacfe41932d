//! A packet's conntrack entry (`struct nf_conn`, include/net/netfilter/nf_conntrack.h).

use dnsprobe_common::{
    config::NO_FIELD,
    flow::{Address, Tuple, V4_MAPPED_WORD},
};

use crate::{
    constants::offset,
    memory::{Pointer, Raw},
};

/// The low bits of `sk_buff._nfct` hold `enum ip_conntrack_info`.
const INFO_MASK: u64 = 7;
const AF_INET: u16 = 2;

/// The entry a packet is tracked by; null when it is not, or when this
/// kernel's conntrack layout is unknown.
#[inline(always)]
pub(crate) fn of<P: Pointer>(skb: P) -> Raw {
    if offset!(sk_buff_nfct) == NO_FIELD as usize {
        return Raw(0);
    }
    let nfct: u64 = skb.field(offset!(sk_buff_nfct));
    Raw(nfct & !INFO_MASK)
}

/// What the packet is to its entry (`enum ip_conntrack_info`); only where it has
/// one.
#[inline(always)]
pub(crate) fn info<P: Pointer>(skb: P) -> u32 {
    let nfct: u64 = skb.field(offset!(sk_buff_nfct));
    (nfct & INFO_MASK) as u32
}

/// Status bits (`enum ip_conntrack_status`).
#[inline(always)]
pub(crate) fn status(entry: Raw) -> u32 {
    entry.field::<u64>(offset!(nf_conn_status)) as u32
}

/// One direction of an entry: 0 original, 1 reply.
#[inline(always)]
pub(crate) fn tuple(entry: Raw, direction: u64) -> Tuple {
    let hash =
        entry.0 + offset!(nf_conn_tuplehash) as u64 + direction * offset!(tuplehash_size) as u64;
    let tuple = Raw(hash + offset!(tuplehash_tuple) as u64);
    let family: u16 = tuple.field(offset!(tuple_src_l3num));
    Tuple {
        source: address(tuple.field(offset!(tuple_src_u3)), family),
        destination: address(tuple.field(offset!(tuple_dst_u3)), family),
        source_port: u16::from_be(tuple.field(offset!(tuple_src_u))),
        destination_port: u16::from_be(tuple.field(offset!(tuple_dst_u))),
    }
}

/// The entry that a `struct nf_conntrack_tuple_hash` belongs to.
#[inline(always)]
pub(crate) fn of_tuple_hash(hash: Raw) -> Raw {
    let tuple = Raw(hash.0 + offset!(tuplehash_tuple) as u64);
    let direction: u8 = tuple.field(offset!(tuple_dst_dir));
    let index = u64::from(direction & 1);
    Raw(hash.0 - offset!(nf_conn_tuplehash) as u64 - index * offset!(tuplehash_size) as u64)
}

/// An IPv4 address fills only the first word of `union nf_inet_addr`.
#[inline(always)]
pub(crate) fn address(words: [u32; 4], family: u16) -> Address {
    if family == AF_INET { [0, 0, V4_MAPPED_WORD, words[0]] } else { words }
}
