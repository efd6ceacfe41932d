//! __udp_enqueue_schedule_skb - puts a datagram on a UDP socket's receive
//! queue, for IPv4 and IPv6. It can still fail for want of room; then
//! `skb:kfree_skb` follows on the same processor and takes the count back.
//! attach: fentry; kprobe where fentry is refused
//! since:  4.10, net/ipv4/udp.c
//! proto:5.10:net/ipv4/udp.c:int __udp_enqueue_schedule_skb(struct sock *sk, struct sk_buff *skb)
//! proto:7.3:(the same)
//! cost:   other datagrams: one read and the port test
//! writes: IN_FLIGHT, STATS, LAST_QUEUED; EVENTS for an answer nobody waits for;
//!         PACKETS by programs that are attached only to capture

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use crate::{
    capture, emit,
    maps::{LAST_QUEUED, Queued},
    memory::{Pointer, Raw, Typed},
    packet::{self, Dns},
    socket::Holder,
    transaction,
};

#[fentry(function = "__udp_enqueue_schedule_skb")]
pub fn udp_enqueue(ctx: FEntryContext) -> u32 {
    let skb = Typed(ctx.arg(1));
    if let Some(dns) = packet::dns(skb) {
        queued(skb.raw(), &dns, Typed(ctx.arg(0)));
    }
    0
}

#[kprobe(function = "__udp_enqueue_schedule_skb")]
pub fn udp_enqueue_kprobe(ctx: ProbeContext) -> u32 {
    let skb = Raw(ctx.arg::<u64>(1).unwrap_or(0));
    if let Some(dns) = packet::dns(skb) {
        queued(skb, &dns, Raw(ctx.arg::<u64>(0).unwrap_or(0)));
    }
    0
}

#[fentry(function = "__udp_enqueue_schedule_skb")]
pub fn capture_udp_enqueue(ctx: FEntryContext) -> u32 {
    capture::queued(Typed(ctx.arg(1)), Typed(ctx.arg(0)))
}

#[kprobe(function = "__udp_enqueue_schedule_skb")]
pub fn capture_udp_enqueue_kprobe(ctx: ProbeContext) -> u32 {
    let socket = Raw(ctx.arg::<u64>(0).unwrap_or(0));
    capture::queued(Raw(ctx.arg::<u64>(1).unwrap_or(0)), socket)
}

#[inline(always)]
fn queued(skb: Raw, dns: &Dns, receiver: impl Holder) {
    if let Some(last) = LAST_QUEUED.get_ptr_mut(0) {
        // SAFETY: this processor's own map value.
        unsafe { *last = Queued { packet: skb.address(), socket: receiver.address() } };
    }
    if dns.is_answer() {
        transaction::answer_queued(skb, dns, receiver, emit::now());
    } else {
        transaction::query_queued(dns, receiver, emit::now());
    }
}
