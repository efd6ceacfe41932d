//! Cause `no-listener`.
//! evidence: the query was dropped because no socket wanted it, or an ICMP
//!           port unreachable was sent for it
//! not this: an ICMP error that a netfilter rule may have sent (REJECT)
//! source:   net/ipv4/udp.c, __udp4_lib_rcv (5.10; drop reason since 5.17)

use super::{Decision, Timeline};
use crate::engine::{Cause, DroppedBy, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, how) = timeline.find(|fact| match &fact.kind {
        _ if fact.packet.is_answer => None,
        FactKind::Drop { by: DroppedBy::NoSocket, .. } => Some("no socket there wants it"),
        FactKind::Unreachable { .. } if timeline.is_port_unreachable(fact) => {
            Some("the kernel there answered with ICMP port unreachable")
        }
        _ => None,
    })?;
    let asked = timeline.facts[decisive].packet.tuple.destination;
    Some(Decision {
        cause: Cause::NoListener,
        summary: format!("The query reached {asked}, but {how}."),
        decisive: Some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{
        Case, PORT_UNREACHABLE, SENT, answer_fact, backend, fact, netfilter_drop, no_socket,
        resolved_clash, service,
    };

    #[test]
    fn a_query_that_no_socket_wants_found_no_listener() {
        let decision = decide(&Case::of([fact(no_socket()).to(backend(2))]).timeline()).unwrap();
        assert_eq!(decision.cause, Cause::NoListener);
        assert_eq!(
            decision.summary,
            "The query reached 10.244.0.2:53, but no socket there wants it."
        );
    }

    #[test]
    fn where_the_kernel_has_no_reasons_port_unreachable_shows_it() {
        let decision = Case::of([fact(PORT_UNREACHABLE).to(backend(2))]).decision();
        assert_eq!(decision.cause, Cause::NoListener);
        assert_eq!(
            decision.summary,
            "The query reached 10.244.0.2:53, but the kernel there answered with ICMP port unreachable."
        );
    }

    #[test]
    fn other_icmp_errors_are_something_else() {
        for (icmp_type, icmp_code) in [(3, 1), (3, 13), (11, 3)] {
            let error = fact(FactKind::Unreachable { icmp_type, icmp_code });
            assert_eq!(Case::of([error]).cause(), Cause::Unexplained);
        }
    }

    #[test]
    fn an_answer_that_finds_no_socket_is_late_and_the_server_listened() {
        let case = Case::of([answer_fact(no_socket(), service(10))]);
        assert_eq!(decide(&case.timeline()), None);
        assert_eq!(case.cause(), Cause::LateAnswer);
    }

    #[test]
    fn a_rule_that_rejects_with_port_unreachable_is_a_policy() {
        let rejected = || [fact(PORT_UNREACHABLE), fact(netfilter_drop())];
        assert_eq!(Case::of(rejected()).cause(), Cause::PolicyDrop);
        assert_eq!(Case::of(rejected()).events_lost(SENT).cause(), Cause::Unexplained);
    }

    #[test]
    fn an_icmp_error_alone_proves_nothing_when_a_rules_drop_may_have_been_missed() {
        let error = || Case::of([fact(PORT_UNREACHABLE)]);
        assert_eq!(error().blind(|b| b.drops = true).cause(), Cause::Unexplained);
        assert_eq!(error().events_lost(SENT).cause(), Cause::Unexplained);
        assert_eq!(error().events_lost(SENT - 1).cause(), Cause::NoListener);
    }

    #[test]
    fn a_missing_socket_is_proof_even_when_events_were_lost() {
        assert_eq!(Case::of([fact(no_socket())]).events_lost(SENT).cause(), Cause::NoListener);
    }

    #[test]
    fn a_resolved_clash_does_not_hide_that_nothing_listens() {
        let case = Case::of([resolved_clash(), fact(no_socket()).to(backend(2))]);
        assert_eq!(case.cause(), Cause::NoListener);
    }

    #[test]
    fn icmpv6_has_a_port_unreachable_of_its_own() {
        let cause = |icmp_type, icmp_code| {
            let mut error = fact(FactKind::Unreachable { icmp_type, icmp_code });
            error.packet.tuple.source = "[fd00::11]:40000".parse().unwrap();
            error.packet.tuple.destination = "[fd00::10]:53".parse().unwrap();
            Case::of([error]).cause()
        };
        assert_eq!(cause(1, 4), Cause::NoListener);
        assert_eq!(cause(3, 3), Cause::Unexplained);
        let error = FactKind::Unreachable { icmp_type: 1, icmp_code: 4 };
        assert_eq!(Case::of([fact(error)]).cause(), Cause::Unexplained);
    }
}
