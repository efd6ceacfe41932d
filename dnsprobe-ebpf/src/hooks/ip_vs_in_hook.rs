//! ip_vs_in_hook - IPVS's verdict on a packet from a client. Before 5.13 the
//! same verdict comes from one function per hook and family.
//! attach: fexit, also where ip_vs is a module (5.11); kprobe and kretprobe
//!         where that is refused, and before 5.13
//! since:  5.13, net/netfilter/ipvs/ip_vs_core.c; ip_vs_remote_request4 and
//!         ip_vs_local_request4 since 2.6.39
//! proto:5.10:net/netfilter/ipvs/ip_vs_core.c:static unsigned int ip_vs_remote_request4(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
//! proto:5.13:(same file):static unsigned int ip_vs_in_hook(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
//! cost:   once per packet that reaches LOCAL_IN or LOCAL_OUT on a node with
//!         IPVS: one comparison; with probes one per-CPU slot written and read;
//!         packet access only when it dropped
//! writes: EVENTS

use aya_ebpf::{
    EbpfContext,
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use dnsprobe_common::event::{EventKind, Ipvs};

use crate::{
    arch,
    calls::{self, Function},
    emit, ipvs,
    maps::{IPVS_LOST, IPVS_NO_BACKEND},
    memory::Raw,
    packet::{self, Dns},
};

const NF_DROP: u32 = 0;

#[fexit(function = "ip_vs_in_hook")]
pub fn ipvs_verdict_fexit(ctx: FExitContext) -> u32 {
    verdict(&ctx, ctx.arg(3), Some(ctx.arg(1)))
}

#[kprobe(function = "ip_vs_in_hook")]
pub fn ipvs_in(ctx: ProbeContext) -> u32 {
    let skb = ctx.arg::<u64>(1).unwrap_or(0);
    calls::enter(Function::IpvsIn, arch::stack_pointer(ctx.regs), skb);
    0
}

#[kretprobe(function = "ip_vs_in_hook")]
pub fn ipvs_verdict(ctx: RetProbeContext) -> u32 {
    let skb = calls::leave(Function::IpvsIn, arch::stack_pointer(ctx.regs));
    verdict(&ctx, ctx.ret(), skb)
}

/// Reports `skb` if IPVS dropped it.
#[inline(always)]
#[cfg_attr(not(feature = "log"), expect(unused_variables))]
fn verdict(ctx: &impl EbpfContext, verdict: u32, skb: Option<u64>) -> u32 {
    if verdict & 0xff != NF_DROP {
        return 0;
    }
    let Some(skb) = skb else { return 0 };
    let Some(dns) = packet::dns(Raw(skb)) else { return 0 };
    debug!(ctx, "ipvs dropped id {}", dns.id);
    let Some(mut entry) = emit::reserve::<Ipvs>() else { return 0 };
    let record = emit::record(&mut entry);
    // SAFETY: a reserved record.
    unsafe {
        let packet = &raw mut (*record).packet;
        emit::packet(packet, EventKind::IpvsDrop, emit::now(), Raw(skb), &dns);
        explain(record, skb, &dns);
    }
    entry.submit(0);
    0
}

/// Adds the connection that was looked up for this very packet, or that the
/// service had no real server for it.
///
/// # Safety
/// `record` is a reserved record.
#[inline(always)]
unsafe fn explain(record: *mut Ipvs, skb: u64, dns: &Dns) {
    // SAFETY: see above; the map values are this processor's own.
    unsafe {
        ipvs::clear(record);
        if let Some(without) = IPVS_NO_BACKEND.get_ptr_mut(0)
            && *without == skb
        {
            *without = 0;
            (*record).no_backend = 1;
        }
        if let Some(lost) = IPVS_LOST.get_ptr_mut(0)
            && (*lost).at_ns != 0
            && (*lost).is_of(dns)
        {
            (*lost).write(record, dns);
            (*lost).at_ns = 0;
        }
    }
}
