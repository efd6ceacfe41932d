//! Cause `no-route`.
//! evidence: routing dropped the packet, or sending failed because there was no
//!           route
//! source:   net/ipv4/route.c, ip_error (5.10; reason since 5.18)

use super::{Decision, Timeline, direction, dropped_by, how, send_failed};
use crate::engine::{Cause, DroppedBy};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let Some((decisive, fact)) = dropped_by(timeline, DroppedBy::Routing) else {
        let (decisive, errno) = send_failed::without_route(timeline)?;
        return Some(Decision {
            cause: Cause::NoRoute,
            summary: format!(
                "The sender has no route to {}: sending failed with {errno}.",
                timeline.query.id.server.ip()
            ),
            decisive: Some(decisive),
        });
    };
    Some(Decision {
        cause: Cause::NoRoute,
        summary: format!(
            "There is no route to {} where the {} was dropped ({}).",
            fact.packet.tuple.destination.ip(),
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
    fn a_packet_without_a_route_is_told_by_the_drop() {
        let kind = drop_by(DroppedBy::Routing, "IP_INNOROUTES", "ip_error+0x90");
        let decision = decide(&Case::of([fact(kind)]).timeline()).unwrap();
        assert_eq!(decision.cause, Cause::NoRoute);
        assert_eq!(
            decision.summary,
            "There is no route to 10.96.0.10 where the query was dropped (IP_INNOROUTES at ip_error+0x90)."
        );
    }

    #[test]
    fn another_drop_is_not() {
        assert_eq!(decide(&Case::of([fact(netfilter_drop())]).timeline()), None);
    }
}
