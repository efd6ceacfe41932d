//! nf_nat_masquerade_ipv4 - chooses the source address of a new masqueraded
//! flow: the outgoing device's. Drops the packet when the device has none.
//! attach: fexit, also where nf_nat is a module (5.11); kprobe and kretprobe
//!         where that is refused
//! since:  3.18, net/netfilter/nf_nat_masquerade.c; these arguments since 4.13
//! proto:5.10:net/netfilter/nf_nat_masquerade.c:unsigned int nf_nat_masquerade_ipv4(struct sk_buff *skb, unsigned int hooknum, const struct nf_nat_range2 *range, const struct net_device *out)
//! proto:7.3:(the same)
//! cost:   once per masqueraded new flow of any protocol: one comparison; with
//!         probes one per-CPU slot written and read; packet access only when it
//!         dropped
//! writes: EVENTS

use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use dnsprobe_common::event::EventKind;

use super::__nf_conntrack_confirm::dropped;
use crate::{
    arch,
    calls::{self, Function},
};

#[fexit(function = "nf_nat_masquerade_ipv4")]
pub fn masquerade_fexit(ctx: FExitContext) -> u32 {
    dropped(EventKind::NatDrop, ctx.arg(4), Some(ctx.arg(0)))
}

#[kprobe(function = "nf_nat_masquerade_ipv4")]
pub fn masquerade(ctx: ProbeContext) -> u32 {
    let skb = ctx.arg::<u64>(0).unwrap_or(0);
    calls::enter(Function::Masquerade, arch::stack_pointer(ctx.regs), skb);
    0
}

#[kretprobe(function = "nf_nat_masquerade_ipv4")]
pub fn masqueraded(ctx: RetProbeContext) -> u32 {
    let skb = calls::leave(Function::Masquerade, arch::stack_pointer(ctx.regs));
    dropped(EventKind::NatDrop, ctx.ret::<u32>(), skb)
}
