//! Cause `ipvs-stale-backend`.
//! evidence: IPVS returned NF_DROP for the query, and the connection of its
//!           source port points to a real server that is not available
//! not this: a real server with weight 0, to which IPVS still sends UDP
//! source:   net/netfilter/ipvs/ip_vs_core.c, ip_vs_in (5.10)

use super::{Decision, Timeline};
use crate::engine::{Cause, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, backend) = timeline.find(|fact| match &fact.kind {
        FactKind::IpvsDrop { backend: Some(backend) } if !backend.available => Some(*backend),
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
