//! skb_consume_udp - ends the reading of a datagram from a UDP socket, in the
//! reader's context, for IPv4 and IPv6.
//! attach: fentry; kprobe where fentry is refused. No tracepoint will do:
//!         skb:consume_skb fires here only up to 6.17, and names its place
//!         only since 6.2
//! since:  4.10, net/ipv4/udp.c
//! proto:5.10:net/ipv4/udp.c:void skb_consume_udp(struct sock *sk, struct sk_buff *skb, int len)
//! proto:7.3:(the same)
//! cost:   other datagrams: one read and the port test
//! writes: IN_FLIGHT, STATS; EVENTS when tracing or sampling

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use crate::{
    emit,
    memory::{Raw, Typed},
    packet::{self, Dns},
    socket::Holder,
    transaction,
};

#[fentry(function = "skb_consume_udp")]
pub fn udp_consume(ctx: FEntryContext) -> u32 {
    // A negative length: the datagram was only peeked at.
    if ctx.arg::<i32>(2) < 0 {
        return 0;
    }
    if let Some(dns) = packet::dns(Typed(ctx.arg(1))) {
        read(&dns, Typed(ctx.arg(0)));
    }
    0
}

#[kprobe(function = "skb_consume_udp")]
pub fn udp_consume_kprobe(ctx: ProbeContext) -> u32 {
    if ctx.arg::<i32>(2).unwrap_or(-1) < 0 {
        return 0;
    }
    if let Some(dns) = packet::dns(Raw(ctx.arg::<u64>(1).unwrap_or(0))) {
        read(&dns, Raw(ctx.arg::<u64>(0).unwrap_or(0)));
    }
    0
}

#[inline(always)]
fn read(dns: &Dns, reader: impl Holder) {
    if dns.is_answer() {
        transaction::answer_read(dns, reader, emit::now());
    } else {
        transaction::query_read(dns, reader, emit::now());
    }
}
