//! Cause `packet-invalid`.
//! evidence: the kernel dropped the packet because it was not valid there:
//!           checksum, header, size, fragment, source or destination address.
//!           Where it names no reason, UDP's receive function drops for want of
//!           a socket, and then sends an ICMP error first, or for a wrong
//!           checksum or length, and then sends none
//! not this: a packet that found no socket
//! source:   net/ipv4/ip_input.c, ip_rcv_core, ip_rcv_finish_core; net/ipv4/
//!           udp.c, __udp4_lib_rcv (5.10; reasons since 5.17)

use super::{Decision, Timeline, direction, dropped_by, how, place};
use crate::engine::{Cause, DroppedBy, Fact, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    if let Some((decisive, fact)) = dropped_by(timeline, DroppedBy::Validation) {
        return Some(Decision {
            cause: Cause::PacketInvalid,
            summary: format!(
                "The {} was refused as invalid{} ({}).",
                direction(fact),
                place(&fact.packet),
                how(fact)
            ),
            decisive: Some(decisive),
        });
    }
    let (decisive, fact) = refused_by_udp(timeline)?;
    Some(Decision {
        cause: Cause::PacketInvalid,
        summary: format!(
            "The {} reached {}, where UDP refused it without an ICMP error: its checksum or length is wrong ({}).",
            direction(fact),
            fact.packet.tuple.destination,
            how(fact)
        ),
        decisive: Some(decisive),
    })
}

/// The packet UDP dropped without saying that nobody listens.
fn refused_by_udp<'a>(timeline: &Timeline<'a>) -> Option<(usize, &'a Fact)> {
    let (index, fact) = dropped_by(timeline, DroppedBy::UdpReceive)?;
    let told = timeline.facts.iter().any(|other| {
        matches!(other.kind, FactKind::Unreachable { .. })
            && other.packet.is_answer == fact.packet.is_answer
    });
    (!told && !timeline.blindness.icmp && !timeline.may_miss_events()).then_some((index, fact))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{
        Case, PORT_UNREACHABLE, SENT, answer_fact, drop_by, fact, netfilter_drop, service,
    };

    #[test]
    fn a_refused_packet_is_told_by_the_drop() {
        let kind = drop_by(DroppedBy::Validation, "IP_RPFILTER", "ip_rcv_finish_core+0x1c0");
        let decision = decide(&Case::of([answer_fact(kind, service(10))]).timeline()).unwrap();
        assert_eq!(decision.cause, Cause::PacketInvalid);
        assert_eq!(
            decision.summary,
            "The answer was refused as invalid (IP_RPFILTER at ip_rcv_finish_core+0x1c0)."
        );
    }

    #[test]
    fn another_drop_is_not() {
        let case = Case::of([answer_fact(netfilter_drop(), service(10))]);
        assert_eq!(decide(&case.timeline()), None);
    }

    fn refused() -> Fact {
        let mut kind = drop_by(DroppedBy::UdpReceive, "", "__udp4_lib_rcv+0x9f1");
        if let FactKind::Drop { reason, .. } = &mut kind {
            *reason = None;
        }
        fact(kind)
    }

    #[test]
    fn udp_that_drops_and_sends_no_error_found_the_packet_wrong() {
        let decision = Case::of([refused()]).decision();
        assert_eq!(decision.cause, Cause::PacketInvalid);
        assert!(decision.summary.ends_with("length is wrong (__udp4_lib_rcv+0x9f1)."));
        assert_eq!(Case::of([fact(PORT_UNREACHABLE), refused()]).cause(), Cause::NoListener);
    }

    #[test]
    fn without_sight_of_icmp_errors_it_proves_nothing() {
        assert_eq!(Case::of([refused()]).blind(|b| b.icmp = true).cause(), Cause::Unexplained);
        assert_eq!(Case::of([refused()]).events_lost(SENT).cause(), Cause::Unexplained);
    }
}
