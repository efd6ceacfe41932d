//! Cause `conntrack-dying`.
//! evidence: conntrack refused to confirm the packet's entry, which either was
//!           marked as dying, or had become invalid since the query was sent
//!           because nf_ct_iterate_destroy was called
//! not this: a clash, which has its own hook
//! source:   net/netfilter/nf_conntrack_core.c, __nf_conntrack_confirm (5.10);
//!           nf_ct_ext_valid_pre (5.19)

use super::{Decision, Timeline, direction};
use crate::engine::{Cause, FactKind};

/// `enum ip_conntrack_status`, include/uapi/linux/netfilter/nf_conntrack_common.h.
const DYING: u32 = 1 << 9;

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    if timeline.lost_clash() {
        return None;
    }
    let (decisive, fact) =
        timeline.find(|fact| matches!(fact.kind, FactKind::ConfirmDrop).then_some(fact))?;
    let packet = &fact.packet;
    let marked = packet.conntrack.is_some_and(|entry| entry.status & DYING != 0);
    let purge = timeline.history.purge_between(timeline.query.start_ns, packet.at_ns);
    if !marked && purge.is_none() {
        return None;
    }
    let who = match purge.and_then(|purge| purge.command.as_deref()) {
        Some(command) => format!(" by {command}"),
        None => String::new(),
    };
    Some(Decision {
        cause: Cause::ConntrackDying,
        summary: format!(
            "Conntrack dropped the {}: its entry was invalidated{who} before it could be confirmed.",
            direction(fact)
        ),
        decisive: Some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{
        AFTER_SOURCE_NAT, Case, MS, SENT, backend, fact, lost_clash, netfilter_drop, service,
    };

    fn refused(status: u32) -> crate::engine::Fact {
        fact(FactKind::ConfirmDrop).tracked(service(10), backend(2)).status(status)
    }

    #[test]
    fn an_entry_marked_as_dying_is_proof() {
        let case = Case::of([refused(AFTER_SOURCE_NAT | DYING), fact(netfilter_drop())]);
        assert_eq!(case.cause(), Cause::ConntrackDying);
    }

    #[test]
    fn a_purge_while_the_packet_was_on_its_way_is_proof() {
        let case = |at_ns| {
            let mut case = Case::of([refused(AFTER_SOURCE_NAT)]);
            case.history.purged(at_ns, Some("modprobe".to_owned()));
            case
        };
        assert_eq!(
            case(SENT + MS / 2).decision().summary,
            "Conntrack dropped the query: its entry was invalidated by modprobe before it could be confirmed."
        );
        assert_eq!(decide(&case(SENT - 1).timeline()), None);
        assert_eq!(decide(&case(SENT + 2 * MS).timeline()), None);
    }

    #[test]
    fn a_refusal_alone_is_not_proof() {
        assert_eq!(decide(&Case::of([refused(AFTER_SOURCE_NAT)]).timeline()), None);
        let mut clash = Case::of([lost_clash(), refused(AFTER_SOURCE_NAT | DYING)]);
        assert_eq!(decide(&clash.timeline()), None);
        clash.facts.remove(0);
        assert_eq!(clash.cause(), Cause::ConntrackDying);
    }
}
