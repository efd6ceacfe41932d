//! Cause `conntrack-chain-too-long`.
//! evidence: conntrack refused to confirm the packet's entry, no clash was
//!           resolved for it, the entry was neither dying nor invalidated, and
//!           the kernel's own count of packets dropped for a long hash chain
//!           rose at that time
//! not this: the same refusal while the clash hook or the purge hook is missing
//! source:   net/netfilter/nf_conntrack_core.c, __nf_conntrack_confirm (5.15)

use super::{Decision, Timeline, conntrack_dying, direction};
use crate::engine::{Cause, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let blind = timeline.blindness;
    if blind.clash || blind.purge || timeline.may_miss_events() || timeline.lost_clash() {
        return None;
    }
    if conntrack_dying::decide(timeline).is_some() {
        return None;
    }
    let (decisive, fact) =
        timeline.find(|fact| matches!(fact.kind, FactKind::ConfirmDrop).then_some(fact))?;
    let rise = timeline.history.chain_too_long_around(fact.packet.at_ns)?;
    (rise > 0).then(|| Decision {
        cause: Cause::ConntrackChainTooLong,
        summary: format!(
            "Conntrack dropped the {}: the hash chain for its entry was too long ({rise} packets at that time on this node, by the kernel's count).",
            direction(fact)
        ),
        decisive: Some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{Case, MS, SENT, fact, lost_clash, netfilter_drop};

    fn refused(rise: u64) -> Case {
        let mut case = Case::of([fact(FactKind::ConfirmDrop), fact(netfilter_drop())]);
        case.history.counted(SENT - MS, 5);
        case.history.counted(SENT + 200 * MS, 5 + rise);
        case
    }

    #[test]
    fn a_refusal_that_the_kernel_counted_as_a_long_chain_is_proof() {
        assert_eq!(
            decide(&refused(3).timeline()).unwrap().summary,
            "Conntrack dropped the query: the hash chain for its entry was too long (3 packets at that time on this node, by the kernel's count)."
        );
        assert_eq!(refused(1).cause(), Cause::ConntrackChainTooLong);
    }

    #[test]
    fn without_the_count_the_refusal_stays_unexplained() {
        assert_eq!(refused(0).cause(), Cause::Unexplained);
        assert_eq!(Case::of([fact(FactKind::ConfirmDrop)]).cause(), Cause::Unexplained);
    }

    #[test]
    fn another_reason_for_the_refusal_comes_first_or_could_have_been_missed() {
        let mut purged = refused(1);
        purged.history.purged(SENT, None);
        assert_eq!(purged.cause(), Cause::ConntrackDying);
        let mut clash = refused(1);
        clash.facts.push(lost_clash());
        assert_eq!(clash.cause(), Cause::ConntrackClash);
        assert_eq!(refused(1).blind(|b| b.clash = true).cause(), Cause::Unexplained);
        assert_eq!(refused(1).blind(|b| b.purge = true).cause(), Cause::Unexplained);
        assert_eq!(refused(1).events_lost(SENT).cause(), Cause::Unexplained);
    }
}
