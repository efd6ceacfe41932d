//! skb:kfree_skb - every packet the kernel drops, with its reason.
//! attach: BTF tracepoint
//! since:  2.6.30, include/trace/events/skb.h; reason since 5.17, receiving
//!         socket since 6.11
//! proto:5.10:include/trace/events/skb.h:kfree_skb(struct sk_buff *skb, void *location)
//! proto:5.17:(same file):kfree_skb(.., enum skb_drop_reason reason)
//! proto:6.11:(same file):kfree_skb(.., struct sock *rx_sk), may be null
//! cost:   drops that are not IP: two loads; other datagrams: one read and the
//!         port test; netfilter drops: one look-up of a per-CPU slot before it
//! writes: EVENTS; takes back a count when a socket's queue was full or the
//!         reader found the checksum wrong; PACKETS by a program that is attached
//!         only to capture
//! blind:  qdisc drops from 7.3 on (see qdisc_drop)

use aya_ebpf::{
    EbpfContext,
    helpers::generated::bpf_get_stack,
    macros::{btf_tracepoint, map},
    maps::{PerCpuArray, ProgramArray},
    programs::BtfTracePointContext,
};
use dnsprobe_common::{
    capture::Point,
    event::{Drop, EventKind, STACK},
};

use crate::{
    capture, conntrack,
    constants::{config, offset},
    emit,
    maps::{LAST_QUEUED, Queued, TABLE_FULL},
    memory::{Pointer, Raw, Typed},
    packet::{self, Dns},
    socket::{self, Holder},
    transaction,
};

/// Between a failed allocation and the drop it leads to lies only the return
/// through netfilter; an older mark belongs to a packet freed elsewhere.
const TABLE_FULL_VALID_NS: u64 = 1_000_000;

/// What the first half found out about a packet.
#[repr(C)]
#[derive(Clone, Copy)]
struct Found {
    packet: u64,
    receiver: u64,
    table_full_ns: u64,
    queue_full: u64,
}

/// From the first half to the second on this processor. Where an interrupt comes
/// between them and drops a packet itself, it is not this packet's any more, and
/// the second half says only what it sees itself.
#[map]
static FOUND: PerCpuArray<Found> = PerCpuArray::with_max_entries(1, 0);

/// The second half. In one program the verifier of 5.10 would look at every way
/// through it once for every way through the first, for seconds.
#[map]
static KFREE_SKB_REPORT: ProgramArray = ProgramArray::with_max_entries(1, 0);

#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb(ctx: BtfTracePointContext) -> u32 {
    let skb = Typed(ctx.arg(0));
    let location: u64 = ctx.arg(1);
    let reason = reason(&ctx);
    let receiver = if config!(drop_has_socket) != 0 { Raw(ctx.arg::<u64>(3)) } else { Raw(0) };
    if !packet::is_ip(skb) {
        return 0;
    }
    let mut table_full_ns = 0;
    if is_netfilter(reason, location) {
        table_full_ns = take_table_full();
    }
    let Some(dns) = packet::dns(skb) else { return 0 };
    debug!(&ctx, "drop: id {} reason {} at {:x}", dns.id, reason, location);
    let (queue_full, receiver) = queue_full(skb.address(), reason, location, receiver);
    // The mark is about a packet that has no entry; another mark is stale.
    if emit::now() - table_full_ns > TABLE_FULL_VALID_NS || !conntrack::of(skb).is_null() {
        table_full_ns = 0;
    }
    if let Some(found) = FOUND.get_ptr_mut(0) {
        // SAFETY: this processor's own map value.
        unsafe {
            (*found).packet = skb.address();
            (*found).receiver = receiver.address();
            (*found).table_full_ns = table_full_ns;
            (*found).queue_full = u64::from(queue_full);
        }
    }
    if queue_full || (dns.is_answer() && refused_by_reader(location)) {
        transaction::take_back(&dns, receiver.netns());
    } else if config!(arrives_by_device) != 0 && dns.is_answer() {
        let netns = socket::netns(skb.follow(offset!(sk_buff_dev)), offset!(net_device_net));
        transaction::take_back(&dns, netns);
    }
    // SAFETY: nothing is to be done in this program any more.
    unsafe { KFREE_SKB_REPORT.tail_call(&ctx, 0) };
    0
}

#[btf_tracepoint(function = "kfree_skb")]
pub fn kfree_skb_report(ctx: BtfTracePointContext) -> u32 {
    let skb = Typed(ctx.arg(0));
    let Some(dns) = packet::dns(skb) else { return 0 };
    let Some(found) = FOUND.get_ptr_mut(0) else { return 0 };
    // SAFETY: this processor's own map value.
    let is_ours = unsafe { (*found).packet } == skb.address();
    // SAFETY: as above.
    let queue_full = is_ours && unsafe { (*found).queue_full } != 0;
    let Some(mut entry) = emit::reserve::<Drop>() else { return 0 };
    let record = emit::record(&mut entry);
    // SAFETY: a reserved record and this processor's own map value.
    unsafe {
        dropped(record, &ctx, skb.raw(), &dns, !queue_full);
        (*record).location = ctx.arg(1);
        (*record).reason = reason(&ctx);
        if is_ours {
            let receiver = Raw((*found).receiver);
            let receiving = receiver.owner();
            (*record).table_full_ns = (*found).table_full_ns;
            (*record).queue_full = u32::from(queue_full);
            (*record).receiver_cgroup = receiving.cgroup;
            (*record).receiver_netns = receiving.netns;
            if !receiver.is_null() {
                (*record).receiver_rmem_bytes = receiver.field(offset!(sock_rmem_alloc));
                (*record).receiver_rcvbuf_bytes = receiver.field(offset!(sock_rcvbuf));
            }
        }
    }
    entry.submit(0);
    0
}

#[btf_tracepoint(function = "kfree_skb")]
pub fn capture_kfree_skb(ctx: BtfTracePointContext) -> u32 {
    let skb = Typed(ctx.arg(0));
    if !packet::is_ip(skb) {
        return 0;
    }
    capture::dropped(&ctx, skb, Point::Dropped, ctx.arg(1), reason(&ctx))
}

#[inline(always)]
fn reason(ctx: &BtfTracePointContext) -> u32 {
    if config!(drop_has_reason) != 0 { ctx.arg(2) } else { 0 }
}

/// Fills in a drop of which only the packet and the place are known. `device`:
/// see [`emit::packet_of`].
///
/// # Safety
/// `record` is a reserved record.
#[inline(always)]
pub(super) unsafe fn dropped(
    record: *mut Drop,
    ctx: &BtfTracePointContext,
    skb: Raw,
    dns: &Dns,
    device: bool,
) {
    let sender = skb.follow(offset!(sk_buff_sk)).owner();
    // SAFETY: see above; the helper writes at most the array's size.
    unsafe {
        let packet = &raw mut (*record).packet;
        emit::packet_of(packet, EventKind::Drop, emit::now(), skb, dns, sender, device);
        (*record).location = 0;
        (*record).receiver_cgroup = 0;
        (*record).table_full_ns = 0;
        (*record).reason = 0;
        (*record).queue_full = 0;
        (*record).receiver_rmem_bytes = 0;
        (*record).receiver_rcvbuf_bytes = 0;
        (*record).receiver_netns = 0;
        (*record).by_qdisc = 0;
        let stack = (&raw mut (*record).stack).cast::<u64>();
        let bytes = bpf_get_stack(ctx.as_ptr(), stack.cast(), size_of::<[u64; STACK]>() as u32, 0);
        if bytes <= 0 {
            *stack = 0;
        }
    }
}

/// Whether netfilter dropped it: by reason, or by location where the kernel
/// has no reasons.
#[inline(always)]
fn is_netfilter(reason: u32, location: u64) -> bool {
    if config!(drop_has_reason) != 0 {
        reason == config!(reason_netfilter)
    } else {
        location >= config!(nf_hook_slow[0]) && location < config!(nf_hook_slow[1])
    }
}

#[inline(always)]
fn take_table_full() -> u64 {
    let Some(mark) = TABLE_FULL.get_ptr_mut(0) else { return 0 };
    // SAFETY: this processor's own map value.
    unsafe {
        let at_ns = *mark;
        if at_ns != 0 {
            *mark = 0;
        }
        at_ns
    }
}

/// Whether a packet that waited on a UDP socket was found to have a wrong
/// checksum when it was to be read: those of more than 76 bytes are not looked
/// at before (net/ipv4/udp.c, udp_recvmsg, __first_packet_length, 5.10). Closing
/// a socket frees what waits there elsewhere.
#[inline(always)]
fn refused_by_reader(location: u64) -> bool {
    (location >= config!(udp_recvmsg[0]) && location < config!(udp_recvmsg[1]))
        || (location >= config!(udpv6_recvmsg[0]) && location < config!(udpv6_recvmsg[1]))
        || (location >= config!(udp_first_packet[0]) && location < config!(udp_first_packet[1]))
}

/// Whether the packet was just offered to a UDP socket that had no room, and
/// which.
#[inline(always)]
fn queue_full(packet: u64, reason: u32, location: u64, receiver: Raw) -> (bool, Raw) {
    if config!(drop_has_reason) != 0 {
        if reason != config!(reason_rcvbuf) && reason != config!(reason_proto_mem) {
            return (false, receiver);
        }
    } else {
        let v4 = location >= config!(udp_queue_rcv[0]) && location < config!(udp_queue_rcv[1]);
        let v6 = location >= config!(udpv6_queue_rcv[0]) && location < config!(udpv6_queue_rcv[1]);
        if !v4 && !v6 {
            return (false, receiver);
        }
    }
    if let Some(last) = LAST_QUEUED.get_ptr_mut(0) {
        // SAFETY: this processor's own map value.
        unsafe {
            if (*last).packet == packet {
                let socket = Raw((*last).socket);
                *last = Queued { packet: 0, socket: 0 };
                return (true, socket);
            }
        }
    }
    // Without the queueing hook the reason alone says it.
    (config!(arrives_by_device) != 0 && config!(drop_has_reason) != 0, receiver)
}
