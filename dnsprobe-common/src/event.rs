//! What the programs tell user space one by one, through the ring buffer:
//! failures always, finished transactions only when tracing. Kept raw: names
//! of reasons and functions are looked up in user space.

use crate::{
    KernelNs,
    dns::QUESTION_LEN,
    flow::{Address, Command, InFlight, QueryKey, Tuple},
};

/// Which struct a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum EventKind {
    /// [`Finished`]: a transaction ended with an answer (tracing only).
    Transaction = 1,
    /// [`Finished`]: a query was sent again before its first was answered; the
    /// record is the first.
    Superseded = 2,
    /// [`Packet`] seen by a socket that has no query in flight for it.
    Stray = 3,
    /// [`SendFailed`]: the send call of a query returned an error.
    SendFailed = 4,
    /// [`Drop`]: the kernel freed a DNS packet as dropped.
    Drop = 16,
    /// [`Unreachable`]: an ICMP error was sent for a query.
    Unreachable = 17,
    /// [`Clash`]: two conntrack entries collided.
    Clash = 32,
    /// [`Unconfirmed`]: `__nf_conntrack_confirm` dropped the packet.
    ConfirmDrop = 33,
    /// [`Purge`]: entries that are not confirmed yet are being invalidated.
    Purge = 34,
    /// [`Unconfirmed`]: masquerading found no source address and dropped the
    /// packet.
    NatDrop = 35,
    /// [`Ipvs`]: IPVS dropped the packet.
    IpvsDrop = 48,
    /// [`Ipvs`]: IPVS sends the packet to a real server of weight 0.
    IpvsDraining = 49,
    /// [`ConnectFailed`]: a TCP connection to a DNS port was not made.
    ConnectFailed = 64,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Transaction,
        Self::Superseded,
        Self::Stray,
        Self::SendFailed,
        Self::Drop,
        Self::Unreachable,
        Self::Clash,
        Self::ConfirmDrop,
        Self::Purge,
        Self::NatDrop,
        Self::IpvsDrop,
        Self::IpvsDraining,
        Self::ConnectFailed,
    ];
}

/// A query that was sent a short while ago, kept with its question until newer
/// ones push it out. When tracing also one that a server here took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Sent {
    /// When it was sent.
    pub at_ns: KernelNs,
    /// cgroup of the sending socket.
    pub cgroup: u64,
    /// Identity of the sending socket.
    pub socket: u64,
    /// Network namespace inode of the socket.
    pub netns: u32,
    /// Process id (thread group) of the sender.
    pub tgid: u32,
    /// Its command; zero for a server's.
    pub command: Command,
    /// Its question.
    pub question: Question,
}

/// How many queries of one flow are remembered.
pub const RECENT: usize = 4;

/// The latest queries of one flow (same addresses and ports), for naming the
/// other side of a clash: a conntrack entry knows no DNS id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Recent {
    /// When each was sent; 0: empty.
    pub at_ns: [KernelNs; RECENT],
    /// Their transaction ids.
    pub ids: [u16; RECENT],
    /// How many there have been.
    pub count: u64,
}

/// The last answer that reached a client socket for one transaction id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Answer {
    /// When it was queued on the socket.
    pub at_ns: KernelNs,
    /// The server it came from.
    pub server: Address,
    /// The server's port, host order.
    pub server_port: u16,
    /// Padding, zero.
    pub pad: [u16; 3],
}

/// First field of every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// An [`EventKind`].
    pub kind: u32,
    /// Processor it happened on.
    pub cpu: u32,
    /// When.
    pub at_ns: KernelNs,
}

/// The start of a question section, raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Question {
    /// Bytes valid in `bytes`; behind them is rubbish.
    pub len: u16,
    /// Question name, type and class as on the wire.
    pub bytes: [u8; QUESTION_LEN],
    /// Bytes of the whole message behind its header: more than `len` where it
    /// was too long to keep. 0: not known.
    pub message_len: u16,
}

/// A DNS packet somewhere on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Packet {
    /// When and where.
    pub header: Header,
    /// cgroup of the socket that sent or received it; 0: no socket known.
    pub cgroup: u64,
    /// Identity of that socket; 0: none.
    pub socket: u64,
    /// Network namespace inode of the socket or device; 0: unknown.
    pub netns: u32,
    /// Interface index of the packet's device; 0: none.
    pub ifindex: u32,
    /// Addresses as they stand in the packet.
    pub tuple: Tuple,
    /// Transaction id.
    pub id: u16,
    /// DNS header flags.
    pub flags: u16,
    /// 1: `original` and `reply` hold the packet's conntrack entry.
    pub has_conntrack: u8,
    /// 1: `query` holds the query in flight that the packet belongs to.
    pub has_query: u8,
    /// Padding, zero.
    pub pad: u16,
    /// `nf_conn.status` bits of that entry.
    pub conntrack_status: u32,
    /// The entry's original direction: client and server before translation.
    pub original: Tuple,
    /// The entry's reply direction.
    pub reply: Tuple,
    /// The query in flight.
    pub query: InFlight,
    /// The packet's question.
    pub question: Question,
}

/// How many return addresses are kept of where a packet was dropped.
pub const STACK: usize = 12;

/// `skb:kfree_skb` or `qdisc:qdisc_drop` for a DNS packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Drop {
    /// The packet.
    pub packet: Packet,
    /// Return address in the function that freed it; 0: a queueing discipline
    /// reported it before.
    pub location: u64,
    /// Return addresses from there outwards, dnsprobe's own first; 0 ends them.
    pub stack: [u64; STACK],
    /// cgroup of the socket it should have been queued on; 0: none known.
    pub receiver_cgroup: u64,
    /// When conntrack last failed to make room for an entry on this processor
    /// in handling this very packet; 0: it did not.
    pub table_full_ns: KernelNs,
    /// This kernel's number of the drop reason; 0: the kernel has none.
    pub reason: u32,
    /// 1: the packet was being queued on a UDP socket and did not fit.
    pub queue_full: u32,
    /// That socket's memory in use, bytes.
    pub receiver_rmem_bytes: u32,
    /// That socket's receive buffer size, bytes.
    pub receiver_rcvbuf_bytes: u32,
    /// Network namespace inode of that socket.
    pub receiver_netns: u32,
    /// 1: a queueing discipline dropped it, and `reason` is of `enum
    /// qdisc_drop_reason` (7.0).
    pub by_qdisc: u32,
}

/// A send call that returned an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SendFailed {
    /// The query, with the addresses the process gave; the sender's is zero
    /// where routing had yet to choose it. `query` is set when a packet was
    /// made.
    pub packet: Packet,
    /// The error's number, positive.
    pub errno: u32,
    /// Process id (thread group) of the sender.
    pub tgid: u32,
}

/// An ICMP error sent in response to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Unreachable {
    /// The query.
    pub packet: Packet,
    /// ICMP type.
    pub icmp_type: u32,
    /// ICMP code.
    pub icmp_code: u32,
}

/// One conntrack entry of a clash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Entry {
    /// Original direction.
    pub original: Tuple,
    /// Reply direction.
    pub reply: Tuple,
    /// `nf_conn.status` bits.
    pub status: u32,
    /// Padding, zero.
    pub pad: u32,
}

/// `nf_ct_resolve_clash` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Clash {
    /// The losing packet; its `original` and `reply` are the loser's entry.
    pub packet: Packet,
    /// The entry that was there first.
    pub winner: Entry,
    /// Netfilter verdict: 0 dropped, 1 accepted (resolved).
    pub verdict: u32,
    /// Padding, zero.
    pub pad: u32,
}

/// Conntrack or NAT returned NF_DROP before the packet's entry was in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Unconfirmed {
    /// The packet with its entry.
    pub packet: Packet,
}

/// `nf_ct_iterate_destroy` was called: every entry that is not confirmed yet
/// becomes invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Purge {
    /// When and where.
    pub header: Header,
    /// The process that called for it.
    pub command: Command,
}

/// IPVS returned NF_DROP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Ipvs {
    /// The packet.
    pub packet: Packet,
    /// Real server the client's connection entry points to.
    pub backend: Address,
    /// Its port, host order.
    pub backend_port: u16,
    /// 1: the fields below were read; 0: the kernel's layout is unknown.
    pub connection_known: u8,
    /// 1: the real server is in the service's list.
    pub backend_available: u8,
    /// Its weight.
    pub backend_weight: i32,
    /// 1: the service has no real server that could take the packet.
    pub no_backend: u32,
    /// Padding, zero.
    pub pad: u32,
}

/// A query with what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Finished {
    /// When it ended: answer read, or sent again.
    pub header: Header,
    /// Which query.
    pub key: QueryKey,
    /// Its times and owner.
    pub query: InFlight,
    /// The process that read the answer (client) or sent it (server); zero when
    /// not tracing.
    pub command: Command,
    /// Its question, in the answer where there is one.
    pub question: Question,
}

/// A TCP connection that ended before it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ConnectFailed {
    /// When it ended.
    pub header: Header,
    /// When its first segment was sent; 0: not seen.
    pub start_ns: KernelNs,
    /// cgroup of the socket.
    pub cgroup: u64,
    /// Command of the process that wanted it; zero where that was not seen.
    pub command: Command,
    /// Network namespace inode of the socket.
    pub netns: u32,
    /// Process id (thread group) of that process; 0 where that was not seen.
    pub tgid: u32,
    /// Who wanted it, to whom.
    pub tuple: Tuple,
    /// `sock.sk_err`; 0: the process gave up.
    pub errno: u32,
}

const _: () = assert!(size_of::<Header>() == 16);
const _: () = assert!(size_of::<Question>() == 264);
const _: () = assert!(size_of::<Packet>().is_multiple_of(8));
const _: () = assert!(size_of::<Drop>().is_multiple_of(8));
const _: () = assert!(size_of::<Clash>().is_multiple_of(8));
const _: () = assert!(size_of::<Ipvs>().is_multiple_of(8));
const _: () = assert!(size_of::<Finished>().is_multiple_of(8));

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    #[test]
    fn the_numbers_of_kinds_are_unique_stable_and_never_zero() {
        let numbers: Vec<u32> = EventKind::ALL.into_iter().map(|kind| kind as u32).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 16, 17, 32, 33, 34, 35, 48, 49, 64]);
    }

    #[test]
    fn every_record_begins_with_its_header() {
        assert_eq!(offset_of!(Packet, header), 0);
        assert_eq!(offset_of!(Finished, header), 0);
        assert_eq!(offset_of!(Purge, header), 0);
        assert_eq!(offset_of!(ConnectFailed, header), 0);
        let packets = [
            offset_of!(Drop, packet),
            offset_of!(SendFailed, packet),
            offset_of!(Unreachable, packet),
            offset_of!(Clash, packet),
            offset_of!(Unconfirmed, packet),
            offset_of!(Ipvs, packet),
        ];
        assert_eq!(packets, [0; 6]);
    }

    #[test]
    fn records_have_no_padding_without_a_name() {
        const TUPLE: usize = size_of::<Tuple>();
        let question = 2 + QUESTION_LEN + 2;
        let in_flight = size_of::<InFlight>();
        let packet = 16 + 8 + 8 + 4 + 4 + TUPLE + 2 + 2 + 1 + 1 + 2 + 4 + 2 * TUPLE;
        assert_eq!(size_of::<Question>(), question);
        assert_eq!(size_of::<Packet>(), packet + in_flight + question);
        assert_eq!(size_of::<Drop>(), size_of::<Packet>() + (3 + STACK) * 8 + 6 * 4);
        assert_eq!(size_of::<Unreachable>(), size_of::<Packet>() + 8);
        assert_eq!(size_of::<SendFailed>(), size_of::<Packet>() + 8);
        assert_eq!(size_of::<Entry>(), 2 * TUPLE + 8);
        assert_eq!(size_of::<Clash>(), size_of::<Packet>() + size_of::<Entry>() + 8);
        assert_eq!(size_of::<Unconfirmed>(), size_of::<Packet>());
        assert_eq!(size_of::<Purge>(), 16 + size_of::<Command>());
        assert_eq!(size_of::<ConnectFailed>(), 16 + 2 * 8 + 16 + 2 * 4 + TUPLE + 4);
        assert_eq!(size_of::<Ipvs>(), size_of::<Packet>() + 16 + 2 + 1 + 1 + 3 * 4);
        let key = size_of::<QueryKey>();
        assert_eq!(size_of::<Finished>(), 16 + key + in_flight + 16 + question);
        assert_eq!(size_of::<Sent>(), 3 * 8 + 2 * 4 + 16 + question);
        assert_eq!(size_of::<Recent>(), RECENT * 8 + RECENT * 2 + 8);
    }
}
