//! ip_vs_conn_in_get_proto - IPVS looks up the connection of a packet from a
//! client. Remembers one whose real server is gone, for `ip_vs_in_hook`, and
//! reports one that leads to a real server of weight 0.
//! attach: fexit, also where ip_vs is a module (5.11); kretprobe where that is
//!         refused
//! since:  2.6.39, net/netfilter/ipvs/ip_vs_conn.c
//! proto:5.10:net/netfilter/ipvs/ip_vs_conn.c:struct ip_vs_conn *ip_vs_conn_in_get_proto(struct netns_ipvs *ipvs, int af, const struct sk_buff *skb, const struct ip_vs_iphdr *iph)
//! proto:7.3:(the same)
//! needs:  BTF of the ip_vs module (5.11)
//! cost:   once per packet to a virtual service: three reads
//! writes: IPVS_LOST; EVENTS for each query to a real server of weight 0

use aya_ebpf::{
    macros::{fexit, kretprobe},
    programs::{FExitContext, RetProbeContext},
};
use dnsprobe_common::event::{EventKind, Ipvs};

use crate::{
    calls::{self, Function},
    emit,
    ipvs::{self, Connection},
    maps::IPVS_LOST,
    memory::Raw,
    packet,
};

#[fexit(function = "ip_vs_conn_in_get_proto")]
pub fn ipvs_connection_fexit(ctx: FExitContext) -> u32 {
    found(Raw(ctx.arg(4)), || Some(ctx.arg(2)))
}

/// At a return the arguments are gone: the packet is the one that
/// `ip_vs_in_hook` was entered with.
#[kretprobe(function = "ip_vs_conn_in_get_proto")]
pub fn ipvs_connection(ctx: RetProbeContext) -> u32 {
    found(Raw(ctx.ret::<u64>()), || calls::current(Function::IpvsIn))
}

#[inline(always)]
fn found(connection: Raw, packet: impl FnOnce() -> Option<u64>) -> u32 {
    let Some(connection) = Connection::read(connection) else { return 0 };
    if connection.is_available() {
        if let Some(skb) = packet() {
            draining(&connection, skb);
        }
        return 0;
    }
    if let Some(lost) = IPVS_LOST.get_ptr_mut(0) {
        // SAFETY: this processor's own map value.
        unsafe { *lost = connection };
    }
    0
}

/// Reports a query that goes to a real server of weight 0.
#[inline(always)]
fn draining(connection: &Connection, skb: u64) {
    let Some(dns) = packet::dns(Raw(skb)) else { return };
    if dns.is_answer() || !connection.is_of(&dns) {
        return;
    }
    let Some(mut entry) = emit::reserve::<Ipvs>() else { return };
    let record = emit::record(&mut entry);
    // SAFETY: a reserved record.
    unsafe {
        let packet = &raw mut (*record).packet;
        emit::packet(packet, EventKind::IpvsDraining, connection.at_ns, Raw(skb), &dns);
        ipvs::clear(record);
        connection.write(record, &dns);
    }
    entry.submit(0);
}
