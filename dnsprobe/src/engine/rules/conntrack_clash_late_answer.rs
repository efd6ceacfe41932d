//! Cause `conntrack-clash-late-answer`.
//! evidence: a clash was resolved for this query, and over a second later its
//!           answer reached the client from the address in the clashed entry's
//!           reply tuple instead of the one that was asked
//! source:   net/netfilter/nf_conntrack_core.c, nf_ct_resolve_clash_harder:
//!           the loser's entry lives for one second (5.10)

use super::{Decision, Timeline};
use crate::engine::{Cause, FactKind};

/// `nf_ct_resolve_clash_harder`: "loser_ct->timeout = nfct_time_stamp + HZ".
/// One tick of the slowest kernel (100 Hz) is allowed for.
const ENTRY_LIFE_NS: u64 = 990_000_000;

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (clash, backend) = timeline.find(|fact| match &fact.kind {
        FactKind::Clash { resolved: true, .. } if !fact.packet.is_answer => {
            Some(fact.packet.conntrack?.reply.source)
        }
        _ => None,
    })?;
    let clash_ns = timeline.facts[clash].packet.at_ns;
    let (decisive, ()) = timeline.find(|fact| {
        let packet = &fact.packet;
        let refused = matches!(fact.kind, FactKind::Stray { .. } | FactKind::Drop { .. });
        (refused
            && packet.is_answer
            && packet.tuple.source == backend
            && backend != timeline.query.id.server
            && packet.at_ns >= clash_ns.saturating_add(ENTRY_LIFE_NS))
        .then_some(())
    })?;
    let late_ns = timeline.facts[decisive].packet.at_ns.saturating_sub(clash_ns);
    Some(Decision {
        cause: Cause::ConntrackClashLateAnswer,
        summary: format!(
            "The answer came {:.3} s after a resolved clash, untranslated: from {backend} instead of {}, so the client did not take it.",
            std::time::Duration::from_nanos(late_ns).as_secs_f64(),
            timeline.query.id.server
        ),
        decisive: Some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{
        Case, MS, SECOND, SENT, STRAY, answer_fact, backend, lost_clash, netfilter_drop, no_socket,
        queue_full, resolved_clash, service,
    };

    fn late(kind: FactKind, after_ns: u64) -> Case {
        let clash_ns = SENT + MS;
        let answer = answer_fact(kind, backend(2)).at(clash_ns + after_ns);
        Case::of([resolved_clash().at(clash_ns), answer])
    }

    #[test]
    fn an_untranslated_answer_over_a_second_after_a_resolved_clash_is_proof() {
        let decision = decide(&late(STRAY, 1_200 * MS).timeline()).unwrap();
        assert_eq!(decision.cause, Cause::ConntrackClashLateAnswer);
        assert_eq!(decision.decisive, Some(1));
        assert_eq!(
            decision.summary,
            "The answer came 1.200 s after a resolved clash, untranslated: from 10.244.0.2:53 instead of 10.96.0.10:53, so the client did not take it."
        );
    }

    #[test]
    fn the_entry_lives_for_one_second_less_one_tick() {
        assert!(decide(&late(STRAY, ENTRY_LIFE_NS).timeline()).is_some());
        assert!(decide(&late(STRAY, ENTRY_LIFE_NS - 1).timeline()).is_none());
    }

    #[test]
    fn it_does_not_matter_what_refused_the_answer() {
        for kind in [no_socket(), netfilter_drop()] {
            assert_eq!(late(kind, 2 * SECOND).cause(), Cause::ConntrackClashLateAnswer);
        }
    }

    #[test]
    fn without_a_clash_a_stray_answer_is_something_else() {
        let case = Case::of([answer_fact(STRAY, backend(2)).at(SENT + 2 * SECOND)]);
        assert_eq!(case.cause(), Cause::AnswerMismatch);
    }

    #[test]
    fn an_answer_from_elsewhere_is_not_the_clashed_entrys() {
        let stray = answer_fact(STRAY, backend(9)).at(SENT + 2 * SECOND);
        assert_eq!(Case::of([resolved_clash(), stray]).cause(), Cause::Unexplained);
    }

    #[test]
    fn without_translation_nothing_can_come_untranslated() {
        let direct = resolved_clash().tracked(service(10), service(10));
        let answer = answer_fact(STRAY, service(10)).at(SENT + 2 * SECOND);
        assert_eq!(decide(&Case::of([direct, answer]).timeline()), None);
    }

    #[test]
    fn a_full_receive_buffer_is_the_reason_before_the_late_answer() {
        assert_eq!(late(queue_full(0, 0), 2 * SECOND).cause(), Cause::SocketBufferFull);
    }

    #[test]
    fn an_unresolved_clash_is_a_clash_however_late_an_answer_comes() {
        let stray = answer_fact(STRAY, backend(2)).at(SENT + 2 * SECOND);
        assert_eq!(Case::of([lost_clash(), stray]).cause(), Cause::ConntrackClash);
    }

    #[test]
    fn no_moment_is_too_late_to_be_compared() {
        let clash = resolved_clash().at(u64::MAX);
        let stray = answer_fact(STRAY, backend(2)).at(SENT);
        assert_eq!(decide(&Case::of([clash, stray]).timeline()), None);
    }
}
