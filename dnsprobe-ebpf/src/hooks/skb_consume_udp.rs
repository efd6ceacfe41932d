//! skb_consume_udp - ends the reading of a datagram from a UDP socket, in the
//! reader's context, for IPv4 and IPv6.
//! attach: fentry; kprobe where fentry is refused; else tracepoint
//!         skb:consume_skb, told apart by its location
//! since:  4.10, net/ipv4/udp.c; consume_skb's location since 6.2
//! proto:5.10:net/ipv4/udp.c:void skb_consume_udp(struct sock *sk, struct sk_buff *skb, int len)
//! proto:7.3:(the same)
//! proto:6.2:include/trace/events/skb.h:consume_skb(struct sk_buff *skb, void *location)
//! cost:   other datagrams: one read and the port test; as tracepoint, other
//!         locations: two comparisons
//! writes: IN_FLIGHT, STATS; EVENTS when tracing

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, kprobe},
    programs::{BtfTracePointContext, FEntryContext, ProbeContext},
};

use crate::{
    constants::config,
    emit,
    memory::{Raw, Typed},
    packet::{self, Dns},
    socket::{self, Socket},
    transaction,
};

#[fentry(function = "skb_consume_udp")]
pub fn udp_consume(ctx: FEntryContext) -> u32 {
    // A negative length: the datagram was only peeked at.
    if ctx.arg::<i32>(2) < 0 {
        return 0;
    }
    if let Some(dns) = packet::dns(Typed(ctx.arg(1))) {
        read(&dns, socket::typed(Typed(ctx.arg(0))));
    }
    0
}

#[kprobe(function = "skb_consume_udp")]
pub fn udp_consume_kprobe(ctx: ProbeContext) -> u32 {
    if ctx.arg::<i32>(2).unwrap_or(-1) < 0 {
        return 0;
    }
    if let Some(dns) = packet::dns(Raw(ctx.arg::<u64>(1).unwrap_or(0))) {
        read(&dns, socket::raw(Raw(ctx.arg::<u64>(0).unwrap_or(0))));
    }
    0
}

#[btf_tracepoint(function = "consume_skb")]
pub fn consume_skb(ctx: BtfTracePointContext) -> u32 {
    let location = if config!(consume_has_location) != 0 { ctx.arg::<u64>(1) } else { 0 };
    if location < config!(skb_consume_udp[0]) || location >= config!(skb_consume_udp[1]) {
        return 0;
    }
    if let Some(dns) = packet::dns(Typed(ctx.arg(0))) {
        // The queue has cleared the packet's socket and device; the reader is
        // the current task.
        read(&dns, socket::of_current());
    }
    0
}

#[inline(always)]
fn read(dns: &Dns, reader: Socket) {
    if dns.is_answer() {
        transaction::answer_read(dns, reader, emit::now());
    } else {
        transaction::query_read(dns, reader, emit::now());
    }
}
