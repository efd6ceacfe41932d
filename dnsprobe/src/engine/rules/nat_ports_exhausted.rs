//! Cause `nat-ports-exhausted`.
//! evidence: nf_nat_masquerade_ipv4 returned NF_DROP for this query's packet:
//!           source NAT had nothing to translate it to
//! not this: a range that is used up. The search for a free port never fails
//!           (net/netfilter/nf_nat_core.c, nf_nat_l4proto_unique_tuple returns
//!           nothing, 5.10 to 7.3); the packet goes on with a taken one and
//!           clashes when its entry is confirmed: `conntrack-clash`
//! source:   net/netfilter/nf_nat_masquerade.c (5.10)

use super::{Decision, Timeline, direction, place};
use crate::engine::{Cause, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, fact) =
        timeline.find(|fact| matches!(fact.kind, FactKind::NatDrop).then_some(fact))?;
    Some(Decision {
        cause: Cause::NatPortsExhausted,
        summary: format!(
            "Source NAT dropped the {}{}: it found no address to translate {} to.",
            direction(fact),
            place(&fact.packet),
            fact.packet.tuple.source
        ),
        decisive: Some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{Case, fact, lost_clash, netfilter_drop};

    #[test]
    fn a_drop_by_masquerading_is_proof() {
        let case = Case::of([fact(FactKind::NatDrop), fact(netfilter_drop())]);
        assert_eq!(case.cause(), Cause::NatPortsExhausted);
        assert_eq!(
            case.decision().summary,
            "Source NAT dropped the query: it found no address to translate 10.244.0.11:40000 to."
        );
    }

    #[test]
    fn a_clash_over_a_taken_port_is_a_clash() {
        assert_eq!(Case::of([lost_clash()]).cause(), Cause::ConntrackClash);
        assert_eq!(decide(&Case::of([lost_clash()]).timeline()), None);
    }
}
