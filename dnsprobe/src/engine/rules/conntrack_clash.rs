//! Cause `conntrack-clash`.
//! evidence: nf_ct_resolve_clash returned NF_DROP for this query's packet
//! not this: a resolved clash (near miss), a confirm drop without a clash
//! source:   net/netfilter/nf_conntrack_core.c, __nf_conntrack_confirm (5.10)

use super::{Decision, Timeline};
use crate::engine::{Cause, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, winner) = timeline.find(|fact| match &fact.kind {
        FactKind::Clash { winner, resolved: false, .. } if !fact.packet.is_answer => Some(winner),
        _ => None,
    })?;
    let packet = &timeline.facts[decisive].packet;
    let own = packet.conntrack?;
    let sides = if own.reply == winner.reply {
        format!("both want the reply tuple {}", own.reply)
    } else {
        format!("they collide in {} and {}", own.reply, winner.reply)
    };
    Some(Decision {
        cause: Cause::ConntrackClash,
        summary: format!(
            "Conntrack dropped the query on CPU {}: its new entry clashed with that of {} and could not be merged; {sides}.",
            packet.cpu, winner.original
        ),
        decisive: Some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{
        Case, backend, clash, entry, fact, lost_clash, netfilter_drop, resolved_clash, service,
    };

    #[test]
    fn an_unresolved_clash_names_both_flows_and_the_tuple_they_want() {
        let decision = decide(&Case::of([lost_clash()]).timeline()).unwrap();
        assert_eq!(decision.cause, Cause::ConntrackClash);
        assert_eq!(decision.decisive, Some(0));
        assert_eq!(
            decision.summary,
            "Conntrack dropped the query on CPU 1: its new entry clashed with that of udp 10.244.0.11:40000 -> 10.96.0.11:53 and could not be merged; both want the reply tuple udp 10.244.0.2:53 -> 10.244.0.11:40000."
        );
    }

    #[test]
    fn a_collision_of_other_tuples_names_both_replies() {
        let lost = clash(false, entry(service(11), backend(3)), None);
        let decision = decide(&Case::of([lost]).timeline()).unwrap();
        assert!(decision.summary.ends_with(
            "they collide in udp 10.244.0.2:53 -> 10.244.0.11:40000 and udp 10.244.0.3:53 -> 10.244.0.11:40000."
        ));
    }

    #[test]
    fn the_clash_stands_before_the_drops_it_shows_through() {
        let drop = || fact(netfilter_drop()).tracked(service(10), backend(2));
        let confirm = || fact(FactKind::ConfirmDrop).tracked(service(10), backend(2));
        assert_eq!(Case::of([lost_clash(), confirm(), drop()]).cause(), Cause::ConntrackClash);
        assert_eq!(Case::of([drop(), confirm(), lost_clash()]).cause(), Cause::ConntrackClash);
    }

    #[test]
    fn a_resolved_clash_is_no_loss_by_itself() {
        let case = Case::of([resolved_clash()]);
        assert_eq!(decide(&case.timeline()), None);
        assert_eq!(case.cause(), Cause::Unexplained);
    }

    #[test]
    fn a_confirm_drop_without_a_clash_stays_unexplained() {
        let drop = fact(netfilter_drop()).tracked(service(10), backend(2));
        let case = Case::of([fact(FactKind::ConfirmDrop), drop]);
        assert_eq!(decide(&case.timeline()), None);
        assert_eq!(case.cause(), Cause::Unexplained);
    }

    #[test]
    fn a_clash_of_the_answers_entry_is_not_the_querys() {
        let mut answer = lost_clash();
        answer.packet.is_answer = true;
        assert_eq!(decide(&Case::of([answer]).timeline()), None);
    }
}
