//! Cause `ipvs-port-conflict`.
//! evidence: nf_ct_resolve_clash dropped this query's packet, and the address
//!           that was asked is an IPVS virtual service; or the answer came from
//!           another virtual service than the one that was asked
//! source:   net/netfilter/nf_conntrack_core.c, __nf_conntrack_confirm;
//!           net/netfilter/ipvs/ip_vs_nfct.c, ip_vs_update_conntrack; ip_vs_conn.c,
//!           ip_vs_conn_out_get: an answer's connection is found by client and
//!           real server alone (5.10)

use super::{Decision, Timeline};
use crate::engine::{Cause, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let clash = timeline.find(|fact| match &fact.kind {
        FactKind::Clash { winner, resolved: false, ipvs: true, .. } => Some(winner),
        _ => None,
    });
    let Some((decisive, winner)) = clash else { return crossed(timeline) };
    let own = timeline.facts[decisive].packet.conntrack?;
    Some(Decision {
        cause: Cause::IpvsPortConflict,
        summary: format!(
            "IPVS sent two flows with one source port to one real server ({} and {}); they want the same reply tuple, {}, and conntrack dropped the second.",
            winner.original, own.original, own.reply
        ),
        decisive: Some(decisive),
    })
}

/// The answer was given the address of another service of the same real server.
fn crossed(timeline: &Timeline<'_>) -> Option<Decision> {
    let server = timeline.query.id.server;
    if timeline.query.other_answer_ns.is_some() {
        return None;
    }
    let (decisive, from) = timeline.find(|fact| {
        let source = fact.packet.tuple.source;
        let stray = matches!(fact.kind, FactKind::Stray { from_ipvs: true });
        (stray && fact.packet.is_answer && source != server).then_some(source)
    })?;
    Some(Decision {
        cause: Cause::IpvsPortConflict,
        summary: format!(
            "Source port {} has IPVS connections through {server} and {from} to one real server; the answer was given the address of {from}.",
            timeline.query.id.client.port()
        ),
        decisive: Some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{Case, STRAY, answer_fact, lost_clash, resolved_clash, service};

    #[test]
    fn an_answer_from_another_virtual_service_is_crossed() {
        let from = |server| answer_fact(FactKind::Stray { from_ipvs: true }, server);
        let decision = Case::of([from(service(11))]).decision();
        assert_eq!(decision.cause, Cause::IpvsPortConflict);
        assert_eq!(
            decision.summary,
            "Source port 40000 has IPVS connections through 10.96.0.10:53 and 10.96.0.11:53 to one real server; the answer was given the address of 10.96.0.11:53."
        );
        assert_eq!(decide(&Case::of([from(service(10))]).timeline()), None);
        let elsewhere = Case::of([answer_fact(STRAY, service(11))]);
        assert_eq!(elsewhere.cause(), Cause::AnswerMismatch);
    }

    #[test]
    fn a_clash_between_flows_to_virtual_services_is_theirs() {
        let mut clash = lost_clash();
        if let FactKind::Clash { ipvs, .. } = &mut clash.kind {
            *ipvs = true;
        }
        let decision = Case::of([clash]).decision();
        assert_eq!(decision.cause, Cause::IpvsPortConflict);
        assert_eq!(
            decision.summary,
            "IPVS sent two flows with one source port to one real server (udp 10.244.0.11:40000 -> 10.96.0.11:53 and udp 10.244.0.11:40000 -> 10.96.0.10:53); they want the same reply tuple, udp 10.244.0.2:53 -> 10.244.0.11:40000, and conntrack dropped the second."
        );
    }

    #[test]
    fn other_clashes_are_not() {
        assert_eq!(decide(&Case::of([lost_clash()]).timeline()), None);
        assert_eq!(decide(&Case::of([resolved_clash()]).timeline()), None);
    }
}
