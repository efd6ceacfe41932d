//! Cause `ipvs-stale-backend`.
//! evidence: IPVS returned NF_DROP for the query, and the connection of its
//!           source port points to a real server that is not available
//! not this: a real server with weight 0, to which IPVS still sends UDP
//! source:   net/netfilter/ipvs/ip_vs_core.c, ip_vs_in (5.10)

use super::{Decision, Timeline};
use crate::engine::{Cause, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, backend) = timeline.find(|fact| match &fact.kind {
        FactKind::IpvsDrop { backend: Some(backend), .. } if !backend.available => Some(*backend),
        _ => None,
    })?;
    Some(Decision {
        cause: Cause::IpvsStaleBackend,
        summary: format!(
            "IPVS dropped the query: source port {} still belongs to a connection to real server {}, which the service no longer has.",
            timeline.query.id.client.port(),
            backend.address
        ),
        decisive: Some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{
        CONFIRMED, Case, UNKNOWN_IPVS_DROP, backend, fact, ipvs_drop, netfilter_drop, service,
    };

    #[test]
    fn a_drop_on_a_connection_to_a_real_server_that_is_gone_is_proof() {
        let decision = decide(&Case::of([fact(ipvs_drop(false))]).timeline()).unwrap();
        assert_eq!(decision.cause, Cause::IpvsStaleBackend);
        assert_eq!(
            decision.summary,
            "IPVS dropped the query: source port 40000 still belongs to a connection to real server 10.244.0.3:53, which the service no longer has."
        );
    }

    #[test]
    fn the_ipvs_drop_stands_before_the_netfilter_drop_it_shows_through() {
        let drop = || fact(netfilter_drop()).tracked(service(10), backend(3)).status(CONFIRMED);
        assert_eq!(Case::of([fact(ipvs_drop(false)), drop()]).cause(), Cause::IpvsStaleBackend);
        assert_eq!(Case::of([drop(), fact(ipvs_drop(false))]).cause(), Cause::IpvsStaleBackend);
    }

    #[test]
    fn a_real_server_the_service_still_has_is_not_stale() {
        let case = Case::of([fact(ipvs_drop(true)), fact(netfilter_drop())]);
        assert_eq!(decide(&case.timeline()), None);
        assert_eq!(case.cause(), Cause::Unexplained);
    }

    #[test]
    fn a_drop_whose_connection_is_not_known_stays_unexplained() {
        let case = Case::of([fact(UNKNOWN_IPVS_DROP), fact(netfilter_drop())]);
        assert_eq!(case.cause(), Cause::Unexplained);
    }
}
