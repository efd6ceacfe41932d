//! Cause `conntrack-table-full`.
//! evidence: netfilter dropped the packet, which has no conntrack entry, right
//!           after early_drop found nothing to evict for it on that processor
//! not this: a rule in the raw table, which drops before any entry is wanted
//! source:   net/netfilter/nf_conntrack_core.c, __nf_conntrack_alloc (5.10)

use super::{Decision, Timeline, direction};
use crate::engine::{Cause, DroppedBy, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, full_ns) = timeline.find(|fact| match &fact.kind {
        FactKind::Drop { by: DroppedBy::Netfilter, table_full_ns, .. } => *table_full_ns,
        _ => None,
    })?;
    let fact = &timeline.facts[decisive];
    let before = fact.packet.at_ns.saturating_sub(full_ns);
    Some(Decision {
        cause: Cause::ConntrackTableFull,
        summary: format!(
            "The conntrack table was full and nothing could be evicted; the {} was dropped {:.1} µs later without an entry.",
            direction(fact),
            std::time::Duration::from_nanos(before).as_secs_f64() * 1e6
        ),
        decisive: Some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{Case, answer_fact, fact, netfilter_drop, service, table_full};

    #[test]
    fn a_netfilter_drop_right_after_a_failed_allocation_is_proof() {
        let decision = decide(&Case::of([fact(table_full())]).timeline()).unwrap();
        assert_eq!(decision.cause, Cause::ConntrackTableFull);
        assert_eq!(
            decision.summary,
            "The conntrack table was full and nothing could be evicted; the query was dropped 2.5 µs later without an entry."
        );
    }

    #[test]
    fn an_answer_can_meet_a_full_table_too() {
        let decision = Case::of([answer_fact(table_full(), service(10))]).decision();
        assert_eq!(decision.cause, Cause::ConntrackTableFull);
        assert!(decision.summary.contains("the answer was dropped"));
    }

    #[test]
    fn the_full_table_stands_before_the_netfilter_drop_it_shows_through() {
        assert_eq!(Case::of([fact(table_full())]).cause(), Cause::ConntrackTableFull);
        let both = Case::of([fact(netfilter_drop()), fact(table_full())]);
        assert_eq!(both.cause(), Cause::ConntrackTableFull);
    }

    #[test]
    fn a_rule_in_the_raw_table_leaves_no_entry_either_but_nothing_was_full() {
        let case = Case::of([fact(netfilter_drop())]);
        assert_eq!(decide(&case.timeline()), None);
        assert_eq!(case.cause(), Cause::PolicyDrop);
    }
}
