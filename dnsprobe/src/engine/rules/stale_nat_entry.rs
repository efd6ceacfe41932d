//! Cause `stale-nat-entry`.
//! evidence: conntrack took the query for a packet of an older flow and sent it
//!           to a backend that no rule of this node names any more, where it
//!           met a dead end or silence; or netfilter dropped it behind routing
//!           with a source-translated entry that was deleted in that moment: the
//!           packet would have left by another device than the entry's first
//! not this: a drop while the entry lives; a new flow; a backend that is still
//!           listed; rules that could not be read
//! source:   net/netfilter/nf_nat_core.c, nf_nat_inet_fn: only the first packet
//!           of a flow meets the rules, and nf_nat_oif_changed (5.10)

use super::{Decision, Timeline};
use crate::engine::{BackendState, Cause, DroppedBy, Fact, FactKind};

/// `enum ip_conntrack_status`, include/uapi/linux/netfilter/nf_conntrack_common.h:
/// in the table, and source translated.
const ESTABLISHED_SOURCE_NAT: u32 = 1 << 3 | 1 << 4;
/// The same, and deleted.
const DELETED: u32 = ESTABLISHED_SOURCE_NAT | 1 << 9;

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    dead_end(timeline).or_else(|| other_device(timeline))
}

/// NAT itself deletes a masqueraded entry whose packets would leave by another
/// device by now, and drops the packet that shows it.
fn other_device(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, entry) = timeline.find(|fact| {
        let entry = fact.packet.conntrack.as_ref()?;
        (is_dropped_while_leaving(fact) && entry.status & DELETED == DELETED).then_some(entry)
    })?;
    Some(Decision {
        cause: Cause::StaleNatEntry,
        summary: format!(
            "The conntrack entry of source port {} was source-translated for another device than the one that leads to {} now; the kernel deleted it and dropped the query.",
            timeline.query.id.client.port(),
            entry.reply.source
        ),
        decisive: Some(decisive),
    })
}

/// Whether netfilter dropped the query in POSTROUTING.
fn is_dropped_while_leaving(fact: &Fact) -> bool {
    let FactKind::Drop { by: DroppedBy::Netfilter, callers, .. } = &fact.kind else {
        return false;
    };
    let leaving =
        |caller: &String| caller.starts_with("ip_output") || caller.starts_with("ip6_output");
    !fact.packet.is_answer && callers.iter().any(leaving)
}

fn dead_end(timeline: &Timeline<'_>) -> Option<Decision> {
    let query = timeline.query;
    let translation = query.translation?;
    let gone = translation.established
        && translation.backend == BackendState::Gone
        && translation.tuple.destination != query.id.server;
    if !gone || query.at_server.is_some() || !timeline.only_dead_ends() {
        return None;
    }
    Some(Decision {
        cause: Cause::StaleNatEntry,
        summary: format!(
            "An older conntrack entry of source port {} sent the query to {}, which the rules for {} no longer name.",
            query.id.client.port(),
            translation.tuple.destination,
            query.id.server
        ),
        decisive: timeline.facts.len().checked_sub(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{
        Case, at_server, backend, fact, left_as, netfilter_drop, no_socket, service,
    };

    fn stale() -> Case {
        let mut case = Case::of([]);
        case.query.translation = Some(left_as(3, BackendState::Gone));
        case
    }

    #[test]
    fn an_old_entry_to_a_backend_that_no_rule_names_is_proof() {
        assert_eq!(stale().cause(), Cause::StaleNatEntry);
        assert_eq!(
            stale().decision().summary,
            "An older conntrack entry of source port 40000 sent the query to 10.244.0.3:53, which the rules for 10.96.0.10:53 no longer name."
        );
    }

    #[test]
    fn it_stands_before_the_dead_end_it_leads_to() {
        let mut case = stale();
        case.facts.push(fact(no_socket()).to(backend(3)));
        assert_eq!(case.cause(), Cause::StaleNatEntry);
    }

    #[test]
    fn an_entry_that_died_with_its_packet_behind_routing_is_proof() {
        let case = |status, caller: &str| {
            let mut drop = netfilter_drop();
            if let FactKind::Drop { callers, .. } = &mut drop {
                callers.push(caller.to_owned());
            }
            Case::of([fact(drop).tracked(service(10), backend(3)).status(status)])
        };
        let decision = case(0x3ba, "ip_output+0xe1").decision();
        assert_eq!(decision.cause, Cause::StaleNatEntry);
        assert_eq!(
            decision.summary,
            "The conntrack entry of source port 40000 was source-translated for another device than the one that leads to 10.244.0.3:53 now; the kernel deleted it and dropped the query."
        );
        assert_eq!(case(0x1ba, "ip_output+0xe1").cause(), Cause::PolicyDrop);
        assert_eq!(case(0x3ba, "ip_forward+0x4d2").cause(), Cause::PolicyDrop);
        assert_eq!(case(0x3a2, "ip_output+0xe1").cause(), Cause::PolicyDrop);
    }

    #[test]
    fn a_flow_of_its_own_or_a_listed_backend_is_not_stale() {
        let cause = |change: fn(&mut crate::engine::Translation)| {
            let mut case = stale();
            case.query.translation.as_mut().map(change);
            case.cause()
        };
        assert_eq!(cause(|t| t.established = false), Cause::Unexplained);
        assert_eq!(cause(|t| t.backend = BackendState::Listed), Cause::Unexplained);
        assert_eq!(cause(|t| t.backend = BackendState::Unknown), Cause::Unexplained);
    }

    #[test]
    fn what_else_became_of_the_query_comes_first() {
        let mut dropped = stale();
        dropped.facts.push(fact(netfilter_drop()).to(backend(3)));
        assert_eq!(dropped.cause(), Cause::PolicyDrop);
        let mut taken = stale();
        taken.query.at_server = Some(at_server());
        assert_eq!(taken.cause(), Cause::ServerSilent);
    }
}
