//! Cause `answer-mismatch`.
//! evidence: an answer with the query's id came from an address that was not
//!           asked: to the asking socket, or, that being connected to the
//!           address it asked, to no socket
//! not this: the late answer of a resolved clash; an answer of another server
//!           that the socket did ask
//! source:   net/ipv4/udp.c, __udp_enqueue_schedule_skb (5.10)

use super::{Decision, Timeline};
use crate::engine::{Cause, DroppedBy, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let query = timeline.query;
    let clashed = timeline.facts.iter().any(|fact| matches!(fact.kind, FactKind::Clash { .. }));
    if clashed || query.other_answer_ns.is_some() {
        return None;
    }
    let (decisive, from) = timeline.find(|fact| {
        let packet = &fact.packet;
        let arrived = matches!(
            fact.kind,
            FactKind::Stray { .. } | FactKind::Drop { by: DroppedBy::NoSocket, .. }
        ) || timeline.is_port_unreachable(fact);
        (arrived && packet.is_answer && packet.tuple.source != query.id.server)
            .then_some(packet.tuple.source)
    })?;
    let behind = match query.translation {
        Some(translation) if translation.tuple.destination == from => {
            ", where the query had been translated to: its conntrack entry was gone"
        }
        _ => "",
    };
    Some(Decision {
        cause: Cause::AnswerMismatch,
        summary: format!("The answer came from {from} instead of {}{behind}.", query.id.server),
        decisive: Some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::BackendState;
    use crate::engine::testing::{
        Case, PORT_UNREACHABLE, SENT, STRAY, answer_fact, backend, left_as, netfilter_drop,
        no_socket, resolved_clash, service,
    };

    fn alien() -> Case {
        Case::of([answer_fact(STRAY, backend(2))])
    }

    #[test]
    fn an_answer_from_an_address_that_was_not_asked_is_proof() {
        assert_eq!(
            decide(&alien().timeline()).unwrap().summary,
            "The answer came from 10.244.0.2:53 instead of 10.96.0.10:53."
        );
        let mut translated = alien();
        translated.query.translation = Some(left_as(2, BackendState::Unknown));
        assert_eq!(
            translated.decision().summary,
            "The answer came from 10.244.0.2:53 instead of 10.96.0.10:53, where the query had been translated to: its conntrack entry was gone."
        );
    }

    #[test]
    fn a_connected_socket_does_not_even_get_it() {
        for kind in [no_socket(), PORT_UNREACHABLE] {
            let case = Case::of([answer_fact(kind, backend(2))]);
            assert_eq!(case.cause(), Cause::AnswerMismatch);
        }
        let rejected =
            [answer_fact(PORT_UNREACHABLE, backend(2)), answer_fact(netfilter_drop(), backend(2))];
        assert_ne!(Case::of(rejected).cause(), Cause::AnswerMismatch);
    }

    #[test]
    fn an_answer_from_the_right_address_is_not() {
        let case = Case::of([answer_fact(STRAY, service(10))]);
        assert_eq!(decide(&case.timeline()), None);
    }

    #[test]
    fn a_clash_or_another_answer_explains_it_otherwise() {
        let mut clash = alien();
        clash.facts.insert(0, resolved_clash());
        assert_eq!(decide(&clash.timeline()), None);
        let mut other = alien();
        other.query.other_answer_ns = Some(SENT);
        assert_eq!(decide(&other.timeline()), None);
    }
}
