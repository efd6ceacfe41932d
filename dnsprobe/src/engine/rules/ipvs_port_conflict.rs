//! Cause `ipvs-port-conflict`.
//! evidence: nf_ct_resolve_clash dropped this query's packet, and the address
//!           that was asked is an IPVS virtual service
//! source:   net/netfilter/nf_conntrack_core.c, __nf_conntrack_confirm;
//!           net/netfilter/ipvs/ip_vs_nfct.c, ip_vs_update_conntrack (5.10)

use super::{Decision, Timeline};
use crate::engine::{Cause, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, winner) = timeline.find(|fact| match &fact.kind {
        FactKind::Clash { winner, resolved: false, ipvs: true, .. } => Some(winner),
        _ => None,
    })?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{Case, lost_clash, resolved_clash};

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
