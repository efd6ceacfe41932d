//! Cause `ipvs-no-backend`.
//! evidence: IPVS returned NF_DROP for the query after ip_vs_leave had given it
//!           up because its virtual service has no usable real server
//! source:   net/netfilter/ipvs/ip_vs_core.c, ip_vs_leave (5.10)

use super::{Decision, Timeline};
use crate::engine::{Cause, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, fact) = timeline.find(|fact| {
        matches!(fact.kind, FactKind::IpvsDrop { no_backend: true, .. }).then_some(fact)
    })?;
    Some(Decision {
        cause: Cause::IpvsNoBackend,
        summary: format!(
            "The IPVS service {} has no real server that could take the query; IPVS dropped it.",
            fact.packet.tuple.destination
        ),
        decisive: Some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{Case, PORT_UNREACHABLE, fact, ipvs_drop, netfilter_drop};

    #[test]
    fn a_service_without_a_real_server_stands_before_what_shows_of_it() {
        let drop = FactKind::IpvsDrop { backend: None, no_backend: true };
        let case = Case::of([fact(PORT_UNREACHABLE), fact(drop), fact(netfilter_drop())]);
        assert_eq!(case.cause(), Cause::IpvsNoBackend);
        assert_eq!(
            case.decision().summary,
            "The IPVS service 10.96.0.10:53 has no real server that could take the query; IPVS dropped it."
        );
    }

    #[test]
    fn a_drop_on_an_old_connection_is_another_cause() {
        assert_eq!(decide(&Case::of([fact(ipvs_drop(false))]).timeline()), None);
    }
}
