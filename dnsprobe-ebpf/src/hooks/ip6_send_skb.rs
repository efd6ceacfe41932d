//! ip6_send_skb - every IPv6 datagram a local UDP socket sends, complete with
//! headers, before netfilter's OUTPUT hook.
//! attach: as `ip_send_skb`
//! since:  3.17, net/ipv6/ip6_output.c (a module on kernels with IPV6=m)
//! proto:5.10:net/ipv6/ip6_output.c:int ip6_send_skb(struct sk_buff *skb)
//! proto:7.3:(the same)
//! cost:   other datagrams: two reads and the port test
//! writes: as `ip_send_skb`

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use super::ip_send_skb::{sent_again, sent_raw, sent_typed};
use crate::{
    capture,
    memory::{Raw, Typed},
};

#[fentry(function = "ip6_send_skb")]
pub fn ip6_send_skb(ctx: FEntryContext) -> u32 {
    sent_typed(Typed(ctx.arg(0)))
}

#[fentry(function = "ip6_send_skb")]
pub fn ip6_send_skb_again(ctx: FEntryContext) -> u32 {
    sent_again(Typed(ctx.arg(0)))
}

#[fentry(function = "ip6_send_skb")]
pub fn capture_ip6_send_skb(ctx: FEntryContext) -> u32 {
    capture::sent(Typed(ctx.arg(0)))
}

#[kprobe(function = "ip6_send_skb")]
pub fn capture_ip6_send_skb_kprobe(ctx: ProbeContext) -> u32 {
    capture::sent(Raw(ctx.arg::<u64>(0).unwrap_or(0)))
}

#[kprobe(function = "ip6_send_skb")]
pub fn ip6_send_skb_kprobe(ctx: ProbeContext) -> u32 {
    sent_raw(Raw(ctx.arg::<u64>(0).unwrap_or(0)))
}
