//! Why the kernel dropped a packet: from its reason, or from the place where
//! there was none, to the part of the kernel that decided it.

use crate::engine::DroppedBy;

/// This kernel's drop reasons by number (`enum skb_drop_reason`, 5.17, or
/// `enum qdisc_drop_reason`, 7.0).
#[derive(Default)]
pub(crate) struct DropReasons(Vec<(String, u32)>);

impl DropReasons {
    /// From enumerators with their prefix.
    pub(crate) fn new(enumerators: Vec<(String, u32)>, prefix: &str) -> Self {
        let strip = |name: String| name.strip_prefix(prefix).map_or(name.clone(), str::to_owned);
        Self(enumerators.into_iter().map(|(name, value)| (strip(name), value)).collect())
    }

    /// Number of a reason in this kernel.
    pub(crate) fn number(&self, wanted: &str) -> Option<u32> {
        self.0.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value)
    }

    /// Name of a reason; its number where it has no name.
    pub(crate) fn name(&self, number: u32) -> Option<String> {
        if self.0.is_empty() || number == 0 {
            return None;
        }
        let name = self.0.iter().find(|(_, value)| *value == number).map(|(name, _)| name.clone());
        Some(name.unwrap_or_else(|| format!("reason {number}")))
    }
}

/// Who decided a drop: the reason where it says so, else the place.
///
/// `location` and `callers` are `function+offset`, inner first.
pub(crate) fn dropped_by(reason: Option<&str>, location: &str, callers: &[String]) -> DroppedBy {
    match reason {
        Some(reason) if reason != "NOT_SPECIFIED" => by_reason(reason),
        _ => by_place(location, callers, reason.is_some()),
    }
}

/// Names of `enum skb_drop_reason` (include/net/dropreason-core.h, 6.12; the
/// first ones in include/linux/skbuff.h, 5.17). Names only grow, so one list
/// serves every kernel.
fn by_reason(reason: &str) -> DroppedBy {
    match reason {
        "NETFILTER_DROP" => DroppedBy::Netfilter,
        "NO_SOCKET" => DroppedBy::NoSocket,
        "TC_INGRESS" | "TC_EGRESS" | "TC_COOKIE_ERROR" | "TC_CHAIN_NOTFOUND"
        | "TC_RECLASSIFY_LOOP" | "QDISC_DROP" | "QDISC_OVERLIMIT" | "QDISC_CONGESTED"
        | "CAKE_FLOOD" | "FQ_BAND_LIMIT" | "FQ_HORIZON_LIMIT" | "FQ_FLOW_LIMIT"
        | "BPF_CGROUP_EGRESS" | "XDP" => DroppedBy::TrafficControl,
        "CPU_BACKLOG" => DroppedBy::Backlog,
        "IP_INNOROUTES" | "IP_OUTNOROUTES" => DroppedBy::Routing,
        "NEIGH_CREATEFAIL" | "NEIGH_FAILED" | "NEIGH_QUEUEFULL" | "NEIGH_DEAD"
        | "NEIGH_HH_FILLFAIL" => DroppedBy::Neighbour,
        "UDP_CSUM"
        | "IP_CSUM"
        | "SKB_CSUM"
        | "IP_INHDR"
        | "IP_RPFILTER"
        | "IP_LOCAL_SOURCE"
        | "IP_INVALID_SOURCE"
        | "IP_INVALID_DEST"
        | "IP_LOCALNET"
        | "IP_INADDRERRORS"
        | "UNICAST_IN_L2_MULTICAST"
        | "PKT_TOO_SMALL"
        | "PKT_TOO_BIG"
        | "HDR_TRUNC"
        | "FRAG_REASM_TIMEOUT"
        | "FRAG_TOO_FAR"
        | "DUP_FRAG"
        | "IPV6DISABLED"
        | "IPV6_BAD_EXTHDR"
        | "SKB_BAD_GSO"
        | "OTHERHOST" => DroppedBy::Validation,
        _ => DroppedBy::Other,
    }
}

/// Functions that free a packet for one purpose only, where the kernel gives no
/// reason. `has_reasons`: it has them in general, so a place that always gives
/// one is not meant.
fn by_place(location: &str, callers: &[String], has_reasons: bool) -> DroppedBy {
    let mut place = function(location);
    // The list's own function says nothing; who had the list does
    // (net/core/skbuff.c, 5.10 and 6.1).
    if matches!(place, "kfree_skb_list" | "kfree_skb_list_reason") {
        place = callers.first().map_or("", |caller| function(caller));
        return match place {
            // The device's queueing discipline handed them back.
            "__dev_queue_xmit" => DroppedBy::TrafficControl,
            _ => DroppedBy::Other,
        };
    }
    match place {
        // net/ipv4/ip_input.c: source or destination refused (rp_filter,
        // martian), and header checks; net/ipv4/ip_forward.c: size, hop count.
        "ip_rcv_finish_core" | "ip_rcv_core" | "ip_forward" | "ip6_rcv_core" => {
            DroppedBy::Validation
        }
        // net/ipv4/ip_fragment.c: the rest of a packet did not come in time;
        // net/ipv4/udp.c: the reader found the checksum wrong.
        "ip_expire"
        | "first_packet_length"
        | "__first_packet_length"
        | "udp_recvmsg"
        | "udpv6_recvmsg" => DroppedBy::Validation,
        // net/ipv4/arp.c, net/ipv6/ndisc.c, net/core/neighbour.c.
        "arp_error_report" | "ndisc_error_report" | "neigh_invalidate" | "__neigh_event_send" => {
            DroppedBy::Neighbour
        }
        // net/ipv4/route.c, net/ipv6/route.c.
        "ip_error" | "ip6_pkt_drop" => DroppedBy::Routing,
        // net/netfilter/ipvs/ip_vs_xmit.c.
        "ip_vs_nat_xmit" | "ip_vs_nat_xmit_v6" => DroppedBy::IpvsTransmit,
        _ if has_reasons => DroppedBy::Other,
        // net/netfilter/core.c.
        "nf_hook_slow" => DroppedBy::Netfilter,
        // net/core/dev.c, 5.10: sch_handle_egress and sch_handle_ingress are
        // inlined there; nothing else in them drops an IP packet.
        "__dev_queue_xmit" | "__netif_receive_skb_core" => DroppedBy::TrafficControl,
        "enqueue_to_backlog" => DroppedBy::Backlog,
        // net/ipv4/ip_output.c: a program on the sender's cgroup said no.
        "ip_finish_output" | "ip6_finish_output" => DroppedBy::TrafficControl,
        // net/ipv4/udp.c, net/ipv6/udp.c.
        "__udp4_lib_rcv" | "__udp6_lib_rcv" => DroppedBy::UdpReceive,
        _ => DroppedBy::Other,
    }
}

/// The function of `name+offset`, without what the compiler added to its name.
fn function(place: &str) -> &str {
    let name = place.split('+').next().unwrap_or_default();
    name.split('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callers(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("{name}+0x10")).collect()
    }

    #[test]
    fn a_reason_says_who_decided() {
        let by = |reason| dropped_by(Some(reason), "somewhere+0x1", &[]);
        assert_eq!(by("NETFILTER_DROP"), DroppedBy::Netfilter);
        assert_eq!(by("TC_INGRESS"), DroppedBy::TrafficControl);
        assert_eq!(by("CPU_BACKLOG"), DroppedBy::Backlog);
        assert_eq!(by("NEIGH_FAILED"), DroppedBy::Neighbour);
        assert_eq!(by("IP_INNOROUTES"), DroppedBy::Routing);
        assert_eq!(by("IP_RPFILTER"), DroppedBy::Validation);
        assert_eq!(by("SOCKET_RCVBUFF"), DroppedBy::Other);
        assert_eq!(by("reason 999"), DroppedBy::Other);
    }

    #[test]
    fn without_reasons_the_place_says_it() {
        let by = |place| dropped_by(None, place, &[]);
        assert_eq!(by("nf_hook_slow+0xa5"), DroppedBy::Netfilter);
        assert_eq!(by("ip_rcv_finish_core.constprop.0+0x1c0"), DroppedBy::Validation);
        assert_eq!(by("arp_error_report+0x30"), DroppedBy::Neighbour);
        assert_eq!(by("neigh_invalidate+0x6c"), DroppedBy::Neighbour);
        assert_eq!(by("ip_error+0x90"), DroppedBy::Routing);
        assert_eq!(by("enqueue_to_backlog+0x1"), DroppedBy::Backlog);
        assert_eq!(by("ip_expire+0x12f"), DroppedBy::Validation);
        assert_eq!(by("ip_finish_output+0x8f"), DroppedBy::TrafficControl);
        assert_eq!(by("__udp4_lib_rcv+0x9f1"), DroppedBy::UdpReceive);
        assert_eq!(by("0xffffffff81000000"), DroppedBy::Other);
    }

    #[test]
    fn a_freed_list_belongs_to_who_had_it() {
        let by = |names| dropped_by(None, "kfree_skb_list+0x1d", &callers(names));
        assert_eq!(by(&["__dev_queue_xmit", "ip_finish_output2"]), DroppedBy::TrafficControl);
        assert_eq!(by(&["skb_release_data", "kfree_skb"]), DroppedBy::Other);
        assert_eq!(by(&[]), DroppedBy::Other);
    }

    #[test]
    fn an_unspecified_reason_is_none_but_only_where_the_place_is_sure() {
        let by = |place| dropped_by(Some("NOT_SPECIFIED"), place, &[]);
        assert_eq!(by("ip_rcv_finish_core+0x1"), DroppedBy::Validation);
        assert_eq!(by("nf_hook_slow+0xa5"), DroppedBy::Other);
        assert_eq!(by("__dev_queue_xmit+0x7d1"), DroppedBy::Other);
    }
}
