//! net:netif_receive_skb - a device hands a packet to the network stack. Stands
//! in for the queueing hook on kernels that refuse fentry and kprobes: an
//! answer that arrives in its socket's namespace counts as answered, unless
//! `skb:kfree_skb` shows that it got no further.
//! attach: BTF tracepoint
//! since:  2.6.37, include/trace/events/net.h
//! proto:5.10:include/trace/events/net.h:netif_receive_skb(struct sk_buff *skb)
//! proto:7.3:(the same)
//! cost:   other datagrams: one read and the port test
//! writes: IN_FLIGHT, STATS
//! blind:  the server role: a device does not know who will read a query

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    capture,
    constants::offset,
    emit,
    memory::{Pointer, Typed},
    packet, socket, transaction,
};

#[btf_tracepoint(function = "netif_receive_skb")]
pub fn netif_receive_skb(ctx: BtfTracePointContext) -> u32 {
    let skb = Typed(ctx.arg(0));
    if !packet::is_ip(skb) {
        return 0;
    }
    let Some(dns) = packet::received_dns(skb) else { return 0 };
    if dns.is_answer() {
        let netns = socket::netns(skb.follow(offset!(sk_buff_dev)), offset!(net_device_net));
        transaction::answer_arrived(&dns, netns, emit::now());
    }
    0
}

#[btf_tracepoint(function = "netif_receive_skb")]
pub fn capture_netif_receive_skb(ctx: BtfTracePointContext) -> u32 {
    let skb = Typed(ctx.arg(0));
    if packet::is_ip(skb) { capture::arrived(skb) } else { 0 }
}
