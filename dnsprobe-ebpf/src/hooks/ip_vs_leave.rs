//! ip_vs_leave - a virtual service has no real server for a packet; IPVS gives
//! it up. Remembers the packet for `ip_vs_in_hook`.
//! attach: kprobe (ip_vs is a module)
//! since:  2.6.11, net/netfilter/ipvs/ip_vs_core.c; these arguments since 4.5
//! proto:5.10:net/netfilter/ipvs/ip_vs_core.c:int ip_vs_leave(struct ip_vs_service *svc, struct sk_buff *skb, struct ip_vs_proto_data *pd, struct ip_vs_iphdr *iph)
//! proto:7.3:(the same)
//! cost:   runs only for such packets
//! writes: IPVS_NO_BACKEND

use aya_ebpf::{macros::kprobe, programs::ProbeContext};

use crate::maps::IPVS_NO_BACKEND;

#[kprobe(function = "ip_vs_leave")]
pub fn ipvs_leave(ctx: ProbeContext) -> u32 {
    if let Some(mark) = IPVS_NO_BACKEND.get_ptr_mut(0) {
        // SAFETY: this processor's own map value.
        unsafe { *mark = ctx.arg::<u64>(1).unwrap_or(0) };
    }
    0
}
