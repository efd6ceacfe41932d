//! ip_send_skb - every IPv4 datagram a local UDP socket sends, complete with
//! headers, before netfilter's OUTPUT hook.
//! attach: fentry; kprobe where fentry is refused. Where the kernel preempts programs
//!         (lazily or fully: as a rule since 6.13, always since 7.0) it skips a
//!         program in one task while another task is in the middle of it on the
//!         same processor; there a second program stands behind the first, and sees
//!         what that one should have
//! since:  2.6.39, net/ipv4/ip_output.c
//! proto:5.10:net/ipv4/ip_output.c:int ip_send_skb(struct net *net, struct sk_buff *skb)
//! proto:7.3:(the same)
//! cost:   other datagrams: one read and the port test, twice where there are two
//! writes: IN_FLIGHT, STATS; SENT and FLOWS when questions are kept; PACKETS by
//!         programs that are attached only to capture
//! loss:   full IN_FLIGHT => `not_followed`

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use crate::{
    capture,
    constants::offset,
    emit,
    memory::{Pointer, Raw, Typed},
    packet,
    socket::Holder,
    transaction,
};

#[fentry(function = "ip_send_skb")]
pub fn ip_send_skb(ctx: FEntryContext) -> u32 {
    sent_typed(Typed(ctx.arg(1)))
}

#[fentry(function = "ip_send_skb")]
pub fn ip_send_skb_again(ctx: FEntryContext) -> u32 {
    sent_again(Typed(ctx.arg(1)))
}

#[kprobe(function = "ip_send_skb")]
pub fn ip_send_skb_kprobe(ctx: ProbeContext) -> u32 {
    sent_raw(Raw(ctx.arg::<u64>(1).unwrap_or(0)))
}

#[fentry(function = "ip_send_skb")]
pub fn capture_ip_send_skb(ctx: FEntryContext) -> u32 {
    capture::sent(Typed(ctx.arg(1)))
}

#[kprobe(function = "ip_send_skb")]
pub fn capture_ip_send_skb_kprobe(ctx: ProbeContext) -> u32 {
    capture::sent(Raw(ctx.arg::<u64>(1).unwrap_or(0)))
}

/// A local socket sends `skb`; the verifier knows its type.
#[inline(always)]
pub(super) fn sent_typed(skb: Typed) -> u32 {
    if let Some(dns) = packet::dns(skb) {
        sent(&dns, skb.follow(offset!(sk_buff_sk)));
    }
    0
}

/// The same, and the first program may have been skipped.
#[inline(always)]
pub(super) fn sent_again(skb: Typed) -> u32 {
    let Some(dns) = packet::dns(skb) else { return 0 };
    let sender = skb.follow(offset!(sk_buff_sk));
    if dns.is_answer() {
        // A transaction ends once.
        transaction::answer_sent(&dns, sender, emit::now());
    } else {
        transaction::query_sent_unseen(&dns, sender, emit::now());
    }
    0
}

/// A local socket sends `skb`.
#[inline(always)]
pub(super) fn sent_raw(skb: Raw) -> u32 {
    if let Some(dns) = packet::dns(skb) {
        sent(&dns, skb.follow(offset!(sk_buff_sk)));
    }
    0
}

#[inline(always)]
fn sent(dns: &packet::Dns, sender: impl Holder) {
    if dns.is_answer() {
        transaction::answer_sent(dns, sender, emit::now());
    } else {
        transaction::query_sent(dns, sender, emit::now());
    }
}
