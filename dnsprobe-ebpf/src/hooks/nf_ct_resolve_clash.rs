//! nf_ct_resolve_clash - two new conntrack entries collided at confirm time;
//! decides whether the second packet is kept.
//! attach: kprobe and kretprobe (nf_conntrack is a module on most kernels)
//! since:  4.7, net/netfilter/nf_conntrack_core.c; these arguments since 5.7
//! proto:5.10:net/netfilter/nf_conntrack_core.c:static int nf_ct_resolve_clash(struct sk_buff *skb, struct nf_conntrack_tuple_hash *h, u32 reply_hash)
//! proto:7.3:(the same)
//! cost:   runs only on a clash
//! writes: EVENTS

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use dnsprobe_common::event::{Clash, Entry, EventKind};

use crate::{
    conntrack, emit,
    maps::{CLASH_SCRATCH, EVENTS, count},
    memory::Raw,
    packet,
};

#[kprobe(function = "nf_ct_resolve_clash")]
pub fn clash(ctx: ProbeContext) -> u32 {
    let skb = Raw(ctx.arg::<u64>(0).unwrap_or(0));
    let hash = Raw(ctx.arg::<u64>(1).unwrap_or(0));
    let Some(dns) = packet::dns(skb) else { return 0 };
    let Some(scratch) = CLASH_SCRATCH.get_ptr_mut(0) else { return 0 };
    let winner = conntrack::of_tuple_hash(hash);
    // SAFETY: this processor's own map value.
    unsafe {
        emit::packet(&raw mut (*scratch).packet, EventKind::Clash, emit::now(), skb, &dns);
        (*scratch).winner = Entry {
            original: conntrack::tuple(winner, 0),
            reply: conntrack::tuple(winner, 1),
            status: conntrack::status(winner),
            pad: 0,
        };
        (*scratch).pad = 0;
    }
    0
}

#[kretprobe(function = "nf_ct_resolve_clash")]
pub fn clash_resolved(ctx: RetProbeContext) -> u32 {
    let Some(scratch) = CLASH_SCRATCH.get_ptr_mut(0) else { return 0 };
    // SAFETY: this processor's own map value; nothing else writes it between
    // entry and return, which run with softirqs off.
    unsafe {
        // The entry probe leaves the mark for DNS packets only.
        if (*scratch).packet.header.kind != EventKind::Clash as u32 {
            return 0;
        }
        (*scratch).verdict = ctx.ret::<u32>() & 0xff;
        debug!(&ctx, "clash: id {} verdict {}", (*scratch).packet.id, (*scratch).verdict);
        if EVENTS.output::<Clash>(&*scratch, 0).is_err() {
            count(dnsprobe_common::stats::Health::EventsLost);
        }
        (*scratch).packet.header.kind = 0;
    }
    0
}
