//! ip_vs_in_hook - IPVS's verdict on a packet from a client. Before 5.13 the
//! same verdict comes from one function per hook and family.
//! attach: kprobe and kretprobe (ip_vs is a module)
//! since:  5.13, net/netfilter/ipvs/ip_vs_core.c; ip_vs_remote_request4 and
//!         ip_vs_local_request4 since 2.6.39
//! proto:5.10:net/netfilter/ipvs/ip_vs_core.c:static unsigned int ip_vs_remote_request4(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
//! proto:5.13:(same file):static unsigned int ip_vs_in_hook(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
//! cost:   once per packet that reaches LOCAL_IN or LOCAL_OUT on a node with
//!         IPVS: one per-CPU slot; packet access only when it dropped
//! writes: EVENTS

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use dnsprobe_common::{
    event::{EventKind, Ipvs},
    flow::V4_MAPPED_WORD,
};

use crate::{
    arch,
    calls::{self, Function},
    emit,
    maps::IPVS_LOST,
    memory::Raw,
    packet::{self, Dns},
};

const NF_DROP: u32 = 0;

#[kprobe(function = "ip_vs_in_hook")]
pub fn ipvs_in(ctx: ProbeContext) -> u32 {
    let skb = ctx.arg::<u64>(1).unwrap_or(0);
    calls::enter(Function::IpvsIn, arch::stack_pointer(ctx.regs), skb);
    0
}

#[kretprobe(function = "ip_vs_in_hook")]
pub fn ipvs_verdict(ctx: RetProbeContext) -> u32 {
    let skb = calls::leave(Function::IpvsIn, arch::stack_pointer(ctx.regs));
    if ctx.ret::<u32>() & 0xff != NF_DROP {
        return 0;
    }
    let Some(skb) = skb else { return 0 };
    let Some(dns) = packet::dns(Raw(skb)) else { return 0 };
    debug!(&ctx, "ipvs dropped id {}", dns.id);
    let Some(mut entry) = emit::reserve::<Ipvs>() else { return 0 };
    let record = emit::record(&mut entry);
    // SAFETY: a reserved record.
    unsafe {
        let packet = &raw mut (*record).packet;
        emit::packet(packet, EventKind::IpvsDrop, emit::now(), Raw(skb), &dns);
        connection(record, &dns);
    }
    entry.submit(0);
    0
}

/// Adds the connection that was looked up for this very packet.
///
/// # Safety
/// `record` is a reserved record.
#[inline(always)]
unsafe fn connection(record: *mut Ipvs, dns: &Dns) {
    // SAFETY: see above; the map value is this processor's own.
    unsafe {
        (*record).backend = [0; 4];
        (*record).backend_port = 0;
        (*record).connection_known = 0;
        (*record).backend_available = 0;
        (*record).backend_weight = 0;
        let Some(lost) = IPVS_LOST.get_ptr_mut(0) else { return };
        let source = &dns.tuple.source;
        let is_v4 = source[2] == V4_MAPPED_WORD && source[0] == 0 && source[1] == 0;
        let client = if is_v4 { source[3] } else { source[0] };
        if (*lost).at_ns == 0
            || (*lost).client_port != dns.tuple.source_port
            || (*lost).client[0] != client
        {
            return;
        }
        (*lost).at_ns = 0;
        (*record).backend =
            if is_v4 { [0, 0, V4_MAPPED_WORD, (*lost).backend[0]] } else { (*lost).backend };
        (*record).backend_port = (*lost).backend_port;
        (*record).backend_weight = (*lost).weight;
        (*record).backend_available = (*lost).available as u8;
        (*record).connection_known = 1;
    }
}
