//! ip_vs_conn_in_get_proto - IPVS looks up the connection of a packet from a
//! client. Remembers one whose real server is gone, for `ip_vs_in_hook`.
//! attach: kretprobe (ip_vs is a module)
//! since:  2.6.39, net/netfilter/ipvs/ip_vs_conn.c
//! proto:5.10:net/netfilter/ipvs/ip_vs_conn.c:struct ip_vs_conn *ip_vs_conn_in_get_proto(struct netns_ipvs *ipvs, int af, const struct sk_buff *skb, const struct ip_vs_iphdr *iph)
//! proto:7.3:(the same)
//! needs:  BTF of the ip_vs module (5.11)
//! cost:   once per packet to a virtual service: two reads
//! writes: IPVS_LOST

use aya_ebpf::{macros::kretprobe, programs::RetProbeContext};

use crate::{
    constants::offset,
    emit,
    maps::{IPVS_LOST, IpvsConnection},
    memory::{Pointer, Raw},
};

/// `IP_VS_DEST_F_AVAILABLE`, include/net/ip_vs.h.
const AVAILABLE: u64 = 1;

#[kretprobe(function = "ip_vs_conn_in_get_proto")]
pub fn ipvs_connection(ctx: RetProbeContext) -> u32 {
    let connection = Raw(ctx.ret::<u64>());
    if connection.is_null() {
        return 0;
    }
    let destination = connection.follow(offset!(ip_vs_conn_dest));
    if destination.is_null() {
        return 0;
    }
    let flags: u32 = destination.field(offset!(ip_vs_dest_flags));
    let available = u64::from(flags) & AVAILABLE;
    if available != 0 {
        return 0;
    }
    let Some(lost) = IPVS_LOST.get_ptr_mut(0) else { return 0 };
    // SAFETY: this processor's own map value.
    unsafe {
        *lost = IpvsConnection {
            at_ns: emit::now(),
            client: connection.field(offset!(ip_vs_conn_caddr)),
            backend: connection.field(offset!(ip_vs_conn_daddr)),
            client_port: u16::from_be(connection.field(offset!(ip_vs_conn_cport))),
            backend_port: u16::from_be(connection.field(offset!(ip_vs_conn_dport))),
            weight: destination.field(offset!(ip_vs_dest_weight)),
            available,
        };
    }
    0
}
