//! net:net_dev_start_xmit - a device driver is about to take a packet. The
//! last device a lost query passed says whether it left the node.
//! attach: BTF tracepoint
//! since:  3.14, include/trace/events/net.h
//! proto:5.10:include/trace/events/net.h:net_dev_start_xmit(struct sk_buff *skb, struct net_device *dev)
//! proto:7.3:(the same)
//! cost:   on loopback: two loads, and a third where conntrack is in use; other
//!         datagrams: one read and the port test
//! writes: IN_FLIGHT; BACKENDS for a query that goes elsewhere than it was sent to

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use dnsprobe_common::flow::Role;

use crate::{
    conntrack,
    constants::offset,
    emit,
    flow::Flow,
    memory::{Pointer, Typed},
    packet, socket,
    transaction::{self, Passage},
};

/// `IFF_LOOPBACK`, include/uapi/linux/if.h.
const LOOPBACK: u32 = 8;

#[btf_tracepoint(function = "net_dev_start_xmit")]
pub fn net_dev_start_xmit(ctx: BtfTracePointContext) -> u32 {
    let skb = Typed(ctx.arg(0));
    let device = Typed(ctx.arg(1));
    // Nothing leaves the node there; only where a query went on to is of interest.
    if device.field::<u32>(offset!(net_device_flags)) & LOOPBACK != 0 {
        let entry = conntrack::of(skb);
        if entry.is_null() || !conntrack::is_translated(entry) {
            return 0;
        }
    }
    if !packet::is_ip(skb) {
        return 0;
    }
    let Some(mut dns) = packet::dns(skb) else { return 0 };
    if dns.is_answer() {
        return 0;
    }
    let left_as = dns.tuple();
    // Behind a translation only the conntrack entry knows whom the client
    // asked.
    let entry = conntrack::of(skb);
    let mut conntrack_info = 0;
    if !entry.is_null() {
        dns.flow = Flow::of(&conntrack::tuple(entry, 0));
        conntrack_info = 1 + conntrack::info(skb);
    }
    let netns = socket::netns(device, offset!(net_device_net));
    let key = transaction::key(&dns, Role::Client, netns);
    let ifindex: u32 = device.field(offset!(net_device_ifindex));
    let passage = Passage { at_ns: emit::now(), ifindex, netns, left_as, conntrack_info };
    transaction::passed_device(&key, &passage);
    0
}
