//! icmp6_send - the kernel answers a packet with an ICMPv6 error. Only hooked
//! where `skb:kfree_skb` has no reasons, as `__icmp_send`.
//! attach: fentry; kprobe where fentry is refused
//! since:  5.1, net/ipv6/icmp.c (3.7 as icmpv6_send)
//! proto:5.10:net/ipv6/icmp.c:void icmp6_send(struct sk_buff *skb, u8 type, u8 code, __u32 info, const struct in6_addr *force_saddr)
//! proto:6.1:(same file):void icmp6_send(.., const struct inet6_skb_parm *parm)
//! cost:   runs only for errors
//! writes: EVENTS

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use super::__icmp_send::sent;
use crate::memory::{Pointer, Raw, Typed};

#[fentry(function = "icmp6_send")]
pub fn icmp6_send(ctx: FEntryContext) -> u32 {
    sent(Typed(ctx.arg(0)).raw(), ctx.arg::<u32>(1) & 0xff, ctx.arg::<u32>(2) & 0xff)
}

#[kprobe(function = "icmp6_send")]
pub fn icmp6_send_kprobe(ctx: ProbeContext) -> u32 {
    sent(
        Raw(ctx.arg::<u64>(0).unwrap_or(0)),
        ctx.arg::<u32>(1).unwrap_or(0) & 0xff,
        ctx.arg::<u32>(2).unwrap_or(0) & 0xff,
    )
}
