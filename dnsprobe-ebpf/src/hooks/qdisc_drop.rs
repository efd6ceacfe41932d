//! qdisc:qdisc_drop - a queueing discipline drops a packet.
//! attach: BTF tracepoint
//! since:  7.0, include/trace/events/qdisc.h; before, `skb:kfree_skb` had these
//!         drops
//! proto:7.3:include/trace/events/qdisc.h:qdisc_drop(struct Qdisc *q, struct netdev_queue *txq, struct net_device *dev, struct sk_buff *skb, enum qdisc_drop_reason reason)
//! cost:   drops that are not IP: two loads; other datagrams: one read and the
//!         port test
//! writes: EVENTS; PACKETS by a program that is attached only to capture

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use dnsprobe_common::{capture::Point, event::Drop};

use super::kfree_skb::dropped;
use crate::{
    capture, emit,
    memory::{Pointer, Typed},
    packet,
};

#[btf_tracepoint(function = "qdisc_drop")]
pub fn qdisc_drop(ctx: BtfTracePointContext) -> u32 {
    let skb = Typed(ctx.arg(3));
    if !packet::is_ip(skb) {
        return 0;
    }
    let Some(dns) = packet::dns(skb) else { return 0 };
    let Some(mut entry) = emit::reserve::<Drop>() else { return 0 };
    let record = emit::record(&mut entry);
    // SAFETY: a reserved record.
    unsafe {
        dropped(record, &ctx, skb.raw(), &dns, true);
        (*record).reason = ctx.arg(4);
        (*record).by_qdisc = 1;
    }
    entry.submit(0);
    0
}

#[btf_tracepoint(function = "qdisc_drop")]
pub fn capture_qdisc_drop(ctx: BtfTracePointContext) -> u32 {
    let skb = Typed(ctx.arg(3));
    if !packet::is_ip(skb) {
        return 0;
    }
    capture::dropped(&ctx, skb, Point::DroppedByQdisc, 0, ctx.arg(4))
}
