//! Cause `neighbour-failed`.
//! evidence: the kernel dropped the packet because the next hop's link-layer
//!           address could not be found out
//! not this: a stale translation to a backend that is gone, which ends so too
//! source:   net/core/neighbour.c, __neigh_event_send; net/ipv4/arp.c,
//!           arp_error_report (5.10; reasons since 5.18)

use super::{Decision, Timeline, direction, dropped_by, how, place};
use crate::engine::{Cause, DroppedBy};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, fact) = dropped_by(timeline, DroppedBy::Neighbour)?;
    Some(Decision {
        cause: Cause::NeighbourFailed,
        summary: format!(
            "The next hop towards {} did not answer{}; the {} was dropped ({}).",
            fact.packet.tuple.destination.ip(),
            place(&fact.packet),
            direction(fact),
            how(fact)
        ),
        decisive: Some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{Case, drop_by, fact, netfilter_drop};

    #[test]
    fn a_next_hop_that_does_not_answer_is_told_by_the_drop() {
        let kind = drop_by(DroppedBy::Neighbour, "NEIGH_FAILED", "arp_error_report+0x30");
        let decision = decide(&Case::of([fact(kind)]).timeline()).unwrap();
        assert_eq!(decision.cause, Cause::NeighbourFailed);
        assert_eq!(
            decision.summary,
            "The next hop towards 10.96.0.10 did not answer; the query was dropped (NEIGH_FAILED at arp_error_report+0x30)."
        );
    }

    #[test]
    fn another_drop_is_not() {
        assert_eq!(decide(&Case::of([fact(netfilter_drop())]).timeline()), None);
    }
}
