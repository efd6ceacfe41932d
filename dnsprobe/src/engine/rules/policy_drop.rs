//! Cause `policy-drop`.
//! evidence: netfilter dropped the packet, and what else drops in netfilter's
//!           name (conntrack's confirm, a full table, IPVS) is seen not to
//!           have done it
//! not this: a drop that one of those could have caused while it is not hooked
//! source:   net/netfilter/core.c, nf_hook_slow; nf_tables frees by itself
//!           (nft_do_chain, 6.1.192)

use super::{Decision, Timeline, direction, place};
use crate::engine::{Cause, DroppedBy, FactKind, PacketSeen};

/// `enum ip_conntrack_status`, include/uapi/linux/netfilter/nf_conntrack_common.h.
const CONFIRMED: u32 = 1 << 3;
const SRC_NAT_DONE: u32 = 1 << 7;
const DST_NAT_DONE: u32 = 1 << 8;

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let others = timeline.facts.iter().any(|fact| {
        matches!(fact.kind, FactKind::ConfirmDrop | FactKind::NatDrop | FactKind::IpvsDrop { .. })
            || matches!(fact.kind, FactKind::Clash { resolved: false, .. })
    });
    if others || timeline.may_miss_events() {
        return None;
    }
    let (decisive, location) = timeline.find(|fact| match &fact.kind {
        FactKind::Drop {
            by: DroppedBy::Netfilter,
            location,
            table_full_ns: None,
            queue_full: None,
            ..
        } => Some(location),
        _ => None,
    })?;
    let fact = &timeline.facts[decisive];
    if could_be_something_else(&fact.packet, timeline) {
        return None;
    }
    Some(Decision {
        cause: Cause::PolicyDrop,
        summary: format!(
            "A netfilter rule dropped the {}{} ({location}).",
            direction(fact),
            place(&fact.packet)
        ),
        decisive: Some(decisive),
    })
}

/// Whether a mechanism that is not hooked here could have dropped it too.
fn could_be_something_else(packet: &PacketSeen, timeline: &Timeline<'_>) -> bool {
    let blind = timeline.blindness;
    let confirm = match &packet.conntrack {
        // Confirming comes after source NAT. A new flow that has been through
        // destination NAT only has not come that far; one that has been through
        // no NAT at all may be where none is set up.
        Some(entry) => {
            let before_source_nat =
                entry.status & DST_NAT_DONE != 0 && entry.status & SRC_NAT_DONE == 0;
            blind.confirm && entry.status & CONFIRMED == 0 && !before_source_nat
        }
        None => false,
    };
    // A packet on its sender's socket in a namespace without conntrack has no
    // entry either, but then no entry was wanted; that cannot be told apart.
    let full = blind.table_full && packet.conntrack.is_none();
    let ipvs = blind.ipvs && !packet.is_answer;
    confirm || full || ipvs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{
        AFTER_SOURCE_NAT, BEFORE_SOURCE_NAT, Case, SENT, UNKNOWN_IPVS_DROP, answer_fact, backend,
        device, device_queue_drop, fact, ipvs_drop, lost_clash, netfilter_drop, resolved_clash,
        service, table_full,
    };
    use crate::engine::{Device, Fact};

    fn forwarded() -> Fact {
        let mut fact =
            fact(netfilter_drop()).tracked(service(10), backend(2)).status(BEFORE_SOURCE_NAT);
        fact.packet.device = Some(device(false));
        fact
    }

    fn confirming() -> Fact {
        forwarded().status(AFTER_SOURCE_NAT)
    }

    #[test]
    fn a_netfilter_drop_that_nothing_else_explains_is_a_rules() {
        let decision = decide(&Case::of([forwarded()]).timeline()).unwrap();
        assert_eq!(decision.cause, Cause::PolicyDrop);
        assert_eq!(
            decision.summary,
            "A netfilter rule dropped the query at device eth0 (nf_hook_slow+0xa5)."
        );
    }

    #[test]
    fn the_place_is_named_as_well_as_it_is_known() {
        let mut elsewhere = forwarded();
        elsewhere.packet.device = Some(Device { name: None, ..device(false) });
        let place = |fact: Fact| Case::of([fact]).decision().summary;
        assert!(place(elsewhere).contains("query at device 3 of network namespace 4000 ("));
        assert!(
            place(fact(netfilter_drop()).owned()).contains("on its way out of the sender's socket")
        );
        assert!(place(answer_fact(netfilter_drop(), service(10))).contains("dropped the answer ("));
    }

    #[test]
    fn a_drop_for_another_reason_is_not_netfilters() {
        let case = Case::of([fact(device_queue_drop())]);
        assert_eq!(decide(&case.timeline()), None);
        assert_eq!(case.cause(), Cause::TcDrop);
    }

    #[test]
    fn what_else_drops_in_netfilters_name_is_not_a_rule() {
        let others = [
            fact(FactKind::ConfirmDrop),
            fact(UNKNOWN_IPVS_DROP),
            fact(ipvs_drop(true)),
            lost_clash(),
        ];
        for other in others {
            assert_eq!(decide(&Case::of([other, forwarded()]).timeline()), None);
        }
        assert_eq!(decide(&Case::of([fact(table_full())]).timeline()), None);
    }

    #[test]
    fn a_near_miss_does_not_excuse_a_rule() {
        assert_eq!(Case::of([resolved_clash(), forwarded()]).cause(), Cause::PolicyDrop);
    }

    #[test]
    fn lost_events_may_have_told_of_something_else() {
        assert_eq!(Case::of([forwarded()]).events_lost(SENT).cause(), Cause::Unexplained);
        assert_eq!(Case::of([forwarded()]).events_lost(SENT - 1).cause(), Cause::PolicyDrop);
    }

    #[test]
    fn without_the_confirm_hook_only_drops_before_confirmation_are_a_rules() {
        let cause = |fact| Case::of([fact]).blind(|b| b.confirm = true).cause();
        assert_eq!(cause(forwarded()), Cause::PolicyDrop);
        assert_eq!(cause(confirming()), Cause::Unexplained);
        assert_eq!(cause(forwarded().status(CONFIRMED | AFTER_SOURCE_NAT)), Cause::PolicyDrop);
        assert_eq!(Case::of([confirming()]).cause(), Cause::PolicyDrop);
    }

    #[test]
    fn without_the_table_hook_only_drops_of_tracked_packets_are_a_rules() {
        let cause = |fact| Case::of([fact]).blind(|b| b.table_full = true).cause();
        assert_eq!(cause(forwarded()), Cause::PolicyDrop);
        assert_eq!(cause(fact(netfilter_drop())), Cause::Unexplained);
    }

    #[test]
    fn without_the_ipvs_hook_only_drops_of_answers_are_a_rules() {
        let cause = |fact| Case::of([fact]).blind(|b| b.ipvs = true).cause();
        assert_eq!(cause(forwarded()), Cause::Unexplained);
        assert_eq!(cause(answer_fact(netfilter_drop(), service(10))), Cause::PolicyDrop);
    }
}
