//! Cause `packet-invalid`.
//! evidence: the kernel dropped the packet because it was not valid there:
//!           checksum, header, size, fragment, source or destination address
//! source:   net/ipv4/ip_input.c, ip_rcv_core, ip_rcv_finish_core; net/ipv4/
//!           udp.c, __udp4_lib_rcv (5.10; reasons since 5.17)

use super::{Decision, Timeline, direction, dropped_by, how, place};
use crate::engine::{Cause, DroppedBy};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, fact) = dropped_by(timeline, DroppedBy::Validation)?;
    Some(Decision {
        cause: Cause::PacketInvalid,
        summary: format!(
            "The {} was refused as invalid{} ({}).",
            direction(fact),
            place(&fact.packet),
            how(fact)
        ),
        decisive: Some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{Case, answer_fact, drop_by, netfilter_drop, service};

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
}
