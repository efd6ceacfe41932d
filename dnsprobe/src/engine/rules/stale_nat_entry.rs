//! Cause `stale-nat-entry`.
//! evidence: conntrack took the query for a packet of an older flow and sent it
//!           to a backend that no rule of this node names any more, where it
//!           met a dead end or silence
//! not this: a new flow; a backend that is still listed; rules that could not be
//!           read
//! source:   net/netfilter/nf_nat_core.c, nf_nat_inet_fn: only the first packet
//!           of a flow meets the rules (5.10)

use super::{Decision, Timeline};
use crate::engine::{BackendState, Cause};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let query = timeline.query;
    let translation = query.translation?;
    let gone = translation.established
        && translation.backend == BackendState::Gone
        && translation.tuple.destination != query.id.server;
    if !gone || query.at_server.is_some() || !timeline.only_dead_ends() {
        return None;
    }
    Some(Decision {
        cause: Cause::StaleNatEntry,
        summary: format!(
            "An older conntrack entry of source port {} sent the query to {}, which the rules for {} no longer name.",
            query.id.client.port(),
            translation.tuple.destination,
            query.id.server
        ),
        decisive: timeline.facts.len().checked_sub(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{
        Case, at_server, backend, fact, left_as, netfilter_drop, no_socket,
    };

    fn stale() -> Case {
        let mut case = Case::of([]);
        case.query.translation = Some(left_as(3, BackendState::Gone));
        case
    }

    #[test]
    fn an_old_entry_to_a_backend_that_no_rule_names_is_proof() {
        assert_eq!(stale().cause(), Cause::StaleNatEntry);
        assert_eq!(
            stale().decision().summary,
            "An older conntrack entry of source port 40000 sent the query to 10.244.0.3:53, which the rules for 10.96.0.10:53 no longer name."
        );
    }

    #[test]
    fn it_stands_before_the_dead_end_it_leads_to() {
        let mut case = stale();
        case.facts.push(fact(no_socket()).to(backend(3)));
        assert_eq!(case.cause(), Cause::StaleNatEntry);
    }

    #[test]
    fn a_flow_of_its_own_or_a_listed_backend_is_not_stale() {
        let cause = |change: fn(&mut crate::engine::Translation)| {
            let mut case = stale();
            case.query.translation.as_mut().map(change);
            case.cause()
        };
        assert_eq!(cause(|t| t.established = false), Cause::Unexplained);
        assert_eq!(cause(|t| t.backend = BackendState::Listed), Cause::Unexplained);
        assert_eq!(cause(|t| t.backend = BackendState::Unknown), Cause::Unexplained);
    }

    #[test]
    fn what_else_became_of_the_query_comes_first() {
        let mut dropped = stale();
        dropped.facts.push(fact(netfilter_drop()).to(backend(3)));
        assert_eq!(dropped.cause(), Cause::PolicyDrop);
        let mut taken = stale();
        taken.query.at_server = Some(at_server());
        assert_eq!(taken.cause(), Cause::ServerSilent);
    }
}
