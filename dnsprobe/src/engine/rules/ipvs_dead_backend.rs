//! Cause `ipvs-dead-backend`.
//! evidence: IPVS sent the query to a real server of weight 0, nothing here took
//!           it, and no answer came
//! not this: a query that a server on this node took; a drop that has nothing to
//!           do with the real server's absence
//! source:   net/netfilter/ipvs/ip_vs_core.c, ip_vs_in: `is_new_conn` is for TCP
//!           and SCTP, so weight 0 does not end a UDP connection (5.10)

use super::{Decision, Timeline};
use crate::engine::{BackendState, Cause, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    if timeline.query.at_server.is_some() || !timeline.only_dead_ends() {
        return None;
    }
    let by_hook = timeline.find(|fact| match &fact.kind {
        FactKind::IpvsDraining { backend } => Some(backend.address),
        _ => None,
    });
    // Where connections cannot be read in the kernel, the table it publishes
    // and the packet as it left agree.
    let by_table = || {
        let translation = timeline.query.translation?;
        (translation.backend == BackendState::Draining).then_some(translation.tuple.destination)
    };
    let (decisive, backend) = match by_hook {
        Some((index, backend)) => (Some(index), backend),
        None => (None, by_table()?),
    };
    Some(Decision {
        cause: Cause::IpvsDeadBackend,
        summary: format!(
            "IPVS sent the query to {backend}, a real server of weight 0, because source port {} has a connection to it; nothing there answered.",
            timeline.query.id.client.port()
        ),
        decisive,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{
        Case, at_server, backend, device_queue_drop, draining, fact, left_as, netfilter_drop,
    };

    #[test]
    fn a_query_sent_to_a_draining_real_server_in_vain_is_proof() {
        let case = Case::of([draining(3), fact(device_queue_drop()).to(backend(3))]);
        assert_eq!(case.cause(), Cause::IpvsDeadBackend);
        assert_eq!(
            case.decision().summary,
            "IPVS sent the query to 10.244.0.3:53, a real server of weight 0, because source port 40000 has a connection to it; nothing there answered."
        );
        assert_eq!(Case::of([draining(3)]).cause(), Cause::IpvsDeadBackend);
    }

    #[test]
    fn the_kernels_table_will_do_where_the_query_left_for_that_server() {
        let mut case = Case::of([]);
        case.query.translation = Some(left_as(3, BackendState::Draining));
        assert_eq!(case.cause(), Cause::IpvsDeadBackend);
        case.query.translation = Some(left_as(3, BackendState::Listed));
        assert_eq!(case.cause(), Cause::Unexplained);
    }

    #[test]
    fn a_query_that_was_dropped_or_taken_on_the_way_is_not() {
        let dropped = Case::of([draining(3), fact(netfilter_drop()).to(backend(3))]);
        assert_eq!(dropped.cause(), Cause::PolicyDrop);
        let mut taken = Case::of([draining(3)]);
        taken.query.at_server = Some(at_server());
        assert_eq!(taken.cause(), Cause::ServerSilent);
    }
}
