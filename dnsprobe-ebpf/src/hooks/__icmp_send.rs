//! __icmp_send - the kernel answers a packet with an ICMP error. Only hooked
//! where `skb:kfree_skb` has no reasons: there it is what proves that nothing
//! listens on a port.
//! attach: fentry; kprobe where fentry is refused
//! since:  5.1, net/ipv4/icmp.c
//! proto:5.10:net/ipv4/icmp.c:void __icmp_send(struct sk_buff *skb_in, int type, int code, __be32 info, const struct ip_options *opt)
//! proto:6.18:(same file):void __icmp_send(.., const struct inet_skb_parm *parm)
//! cost:   runs only for errors
//! writes: EVENTS

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use dnsprobe_common::event::{EventKind, Unreachable};

use crate::{
    emit,
    memory::{Pointer, Raw, Typed},
    packet,
};

#[fentry(function = "__icmp_send")]
pub fn icmp_send(ctx: FEntryContext) -> u32 {
    sent(Typed(ctx.arg(0)).raw(), ctx.arg(1), ctx.arg(2))
}

#[kprobe(function = "__icmp_send")]
pub fn icmp_send_kprobe(ctx: ProbeContext) -> u32 {
    sent(Raw(ctx.arg::<u64>(0).unwrap_or(0)), ctx.arg(1).unwrap_or(0), ctx.arg(2).unwrap_or(0))
}

/// An ICMP error is sent for `skb`.
#[inline(always)]
pub(super) fn sent(skb: Raw, icmp_type: u32, icmp_code: u32) -> u32 {
    let Some(dns) = packet::dns(skb) else { return 0 };
    let Some(mut entry) = emit::reserve::<Unreachable>() else { return 0 };
    let record = emit::record(&mut entry);
    // SAFETY: a reserved record.
    unsafe {
        emit::packet(&raw mut (*record).packet, EventKind::Unreachable, emit::now(), skb, &dns);
        (*record).icmp_type = icmp_type;
        (*record).icmp_code = icmp_code;
    }
    entry.submit(0);
    0
}
