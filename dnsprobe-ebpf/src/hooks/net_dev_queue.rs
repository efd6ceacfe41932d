//! net:net_dev_queue - a packet is handed to a device's queue. Stands in for
//! the send hooks on kernels that refuse fentry and kprobes: while a packet
//! still belongs to its sender's socket, this is its sending.
//! attach: BTF tracepoint
//! since:  2.6.37, include/trace/events/net.h
//! proto:5.10:include/trace/events/net.h:net_dev_queue(struct sk_buff *skb)
//! proto:7.3:(the same)
//! cost:   packets without a socket: two loads; other datagrams: one read and
//!         the port test
//! blind:  what is dropped before it reaches a device (netfilter OUTPUT)

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    capture,
    constants::offset,
    emit,
    memory::{Pointer, Typed},
    packet, transaction,
};

#[btf_tracepoint(function = "net_dev_queue")]
pub fn net_dev_queue(ctx: BtfTracePointContext) -> u32 {
    let skb = Typed(ctx.arg(0));
    let sk = skb.follow(offset!(sk_buff_sk));
    if sk.is_null() || !packet::is_ip(skb) {
        return 0;
    }
    if let Some(dns) = packet::dns(skb) {
        if dns.is_answer() {
            transaction::answer_sent(&dns, sk, emit::now());
        } else {
            transaction::sent_by_device(&dns, sk, emit::now());
        }
    }
    0
}

#[btf_tracepoint(function = "net_dev_queue")]
pub fn capture_net_dev_queue(ctx: BtfTracePointContext) -> u32 {
    let skb = Typed(ctx.arg(0));
    let sender = skb.follow(offset!(sk_buff_sk));
    if sender.is_null() || !packet::is_ip(skb) {
        return 0;
    }
    capture::taken(skb, sender)
}
