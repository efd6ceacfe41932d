//! Cause `late-answer`.
//! evidence: the answer came from the address that was asked, and no socket
//!           was there any more
//! not this: an ICMP error that a netfilter rule may have sent (REJECT)
//! source:   net/ipv4/udp.c, __udp4_lib_rcv (5.10; drop reason since 5.17)

use super::{Decision, Timeline};
use crate::engine::{Cause, DroppedBy, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, ()) = timeline.find(|fact| {
        let no_socket = matches!(fact.kind, FactKind::Drop { by: DroppedBy::NoSocket, .. })
            || timeline.is_port_unreachable(fact);
        let packet = &fact.packet;
        (no_socket && packet.is_answer && packet.tuple.source == timeline.query.id.server)
            .then_some(())
    })?;
    let after_ns = timeline.facts[decisive].packet.at_ns.saturating_sub(timeline.query.start_ns);
    Some(Decision {
        cause: Cause::LateAnswer,
        summary: format!(
            "The answer came {:.3} s after the query, when the client had closed its socket.",
            std::time::Duration::from_nanos(after_ns).as_secs_f64()
        ),
        decisive: Some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{
        Case, PORT_UNREACHABLE, SECOND, SENT, answer_fact, backend, fact, netfilter_drop,
        no_socket, service,
    };

    #[test]
    fn an_answer_that_finds_no_socket_is_late() {
        let answer = answer_fact(no_socket(), service(10)).at(SENT + 3 * SECOND);
        let decision = decide(&Case::of([answer]).timeline()).unwrap();
        assert_eq!(decision.cause, Cause::LateAnswer);
        assert_eq!(
            decision.summary,
            "The answer came 3.000 s after the query, when the client had closed its socket."
        );
    }

    #[test]
    fn where_the_kernel_has_no_reasons_the_icmp_error_shows_it() {
        let answer = answer_fact(PORT_UNREACHABLE, service(10));
        assert_eq!(Case::of([answer]).cause(), Cause::LateAnswer);
    }

    #[test]
    fn another_icmp_error_shows_nothing() {
        let error = FactKind::Unreachable { icmp_type: 3, icmp_code: 1 };
        assert_eq!(Case::of([answer_fact(error, service(10))]).cause(), Cause::Unexplained);
    }

    #[test]
    fn an_answer_from_an_address_that_was_not_asked_is_not_late() {
        let case = Case::of([answer_fact(no_socket(), backend(2))]);
        assert_eq!(decide(&case.timeline()), None);
        assert_eq!(case.cause(), Cause::AnswerMismatch);
    }

    #[test]
    fn an_answer_that_a_rule_rejected_was_not_late() {
        let facts = || {
            [answer_fact(PORT_UNREACHABLE, service(10)), answer_fact(netfilter_drop(), service(10))]
        };
        assert_eq!(Case::of(facts()).cause(), Cause::PolicyDrop);
        assert_eq!(Case::of(facts()).events_lost(SENT).cause(), Cause::Unexplained);
    }

    #[test]
    fn a_dropped_query_is_not_a_late_answer() {
        assert_eq!(decide(&Case::of([fact(no_socket())]).timeline()), None);
    }
}
