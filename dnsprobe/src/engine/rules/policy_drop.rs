//! Cause `policy-drop`.
//! evidence: netfilter dropped the packet, and what else drops in netfilter's
//!           name (conntrack's confirm, a full table, IPVS) is seen not to
//!           have done it
//! not this: a drop that one of those could have caused while it is not hooked
//! source:   net/netfilter/core.c, nf_hook_slow; nf_tables frees by itself
//!           (nft_do_chain, 6.1.192)

use super::{Decision, Timeline, direction};
use crate::engine::{Cause, FactKind, PacketSeen};

/// `enum ip_conntrack_status`, include/uapi/linux/netfilter/nf_conntrack_common.h.
const CONFIRMED: u32 = 1 << 3;
const SRC_NAT_DONE: u32 = 1 << 7;

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let others = timeline.facts.iter().any(|fact| {
        matches!(fact.kind, FactKind::ConfirmDrop | FactKind::IpvsDrop { .. })
            || matches!(fact.kind, FactKind::Clash { resolved: false, .. })
    });
    if others || timeline.may_miss_events() {
        return None;
    }
    let (decisive, location) = timeline.find(|fact| match &fact.kind {
        FactKind::Drop {
            netfilter: true, location, table_full_ns: None, queue_full: None, ..
        } => Some(location),
        _ => None,
    })?;
    let fact = &timeline.facts[decisive];
    if could_be_something_else(&fact.packet, timeline) {
        return None;
    }
    let place = match &fact.packet.device {
        Some(device) => match &device.name {
            Some(name) => format!(" at device {name}"),
            None => format!(" at device {} of network namespace {}", device.ifindex, device.netns),
        },
        None if fact.packet.owner.is_some() => " on its way out of the sender's socket".to_owned(),
        None => String::new(),
    };
    Some(Decision {
        cause: Cause::PolicyDrop,
        summary: format!("A netfilter rule dropped the {}{place} ({location}).", direction(fact)),
        decisive: Some(decisive),
    })
}

/// Whether a mechanism that is not hooked here could have dropped it too.
fn could_be_something_else(packet: &PacketSeen, timeline: &Timeline<'_>) -> bool {
    let blind = timeline.blindness;
    let confirm = match &packet.conntrack {
        // Confirming comes after source NAT, for entries not yet confirmed.
        Some(entry) => {
            blind.confirm && entry.status & CONFIRMED == 0 && entry.status & SRC_NAT_DONE != 0
        }
        None => false,
    };
    // A packet on its sender's socket in a namespace without conntrack has no
    // entry either, but then no entry was wanted; that cannot be told apart.
    let full = blind.table_full && packet.conntrack.is_none();
    let ipvs = blind.ipvs && !packet.is_answer;
    confirm || full || ipvs
}
