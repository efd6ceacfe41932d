//! __nf_conntrack_confirm - puts a new flow's entry into the table, or drops
//! its first packet: unresolved clash, dying entry, chain too long.
//! attach: fexit, also where nf_conntrack is a module (5.11); kprobe and
//!         kretprobe where that is refused
//! since:  2.6.20, net/netfilter/nf_conntrack_core.c
//! proto:5.10:net/netfilter/nf_conntrack_core.c:int __nf_conntrack_confirm(struct sk_buff *skb)
//! proto:7.3:(the same)
//! cost:   once per new flow of any protocol: one comparison; with probes one
//!         per-CPU slot written and read; packet access only when it dropped
//! writes: EVENTS

use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use dnsprobe_common::event::{EventKind, Unconfirmed};

use crate::{
    arch,
    calls::{self, Function},
    emit,
    memory::Raw,
    packet,
};

const NF_DROP: u32 = 0;

#[fexit(function = "__nf_conntrack_confirm")]
pub fn confirm_fexit(ctx: FExitContext) -> u32 {
    dropped(EventKind::ConfirmDrop, ctx.arg(1), Some(ctx.arg(0)))
}

#[kprobe(function = "__nf_conntrack_confirm")]
pub fn confirm(ctx: ProbeContext) -> u32 {
    let skb = ctx.arg::<u64>(0).unwrap_or(0);
    calls::enter(Function::ConntrackConfirm, arch::stack_pointer(ctx.regs), skb);
    0
}

#[kretprobe(function = "__nf_conntrack_confirm")]
pub fn confirmed(ctx: RetProbeContext) -> u32 {
    let skb = calls::leave(Function::ConntrackConfirm, arch::stack_pointer(ctx.regs));
    dropped(EventKind::ConfirmDrop, ctx.ret::<u32>(), skb)
}

/// Reports `skb` if the function it was entered with returned NF_DROP.
#[inline(always)]
pub(super) fn dropped(kind: EventKind, verdict: u32, skb: Option<u64>) -> u32 {
    if verdict & 0xff != NF_DROP {
        return 0;
    }
    let Some(skb) = skb else { return 0 };
    let Some(dns) = packet::dns(Raw(skb)) else { return 0 };
    let Some(mut entry) = emit::reserve::<Unconfirmed>() else { return 0 };
    let record = emit::record(&mut entry);
    // SAFETY: a reserved record.
    unsafe { emit::packet(&raw mut (*record).packet, kind, emit::now(), Raw(skb), &dns) };
    entry.submit(0);
    0
}
