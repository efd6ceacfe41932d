//! Cause `conntrack-clash`.
//! evidence: nf_ct_resolve_clash returned NF_DROP for this query's packet
//! not this: a resolved clash (near miss), a confirm drop without a clash
//! source:   net/netfilter/nf_conntrack_core.c, __nf_conntrack_confirm (5.10)

use super::{Decision, Timeline};
use crate::engine::{Cause, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, winner) = timeline.find(|fact| match &fact.kind {
        FactKind::Clash { winner, resolved: false, .. } if !fact.packet.is_answer => Some(winner),
        _ => None,
    })?;
    let packet = &timeline.facts[decisive].packet;
    let own = packet.conntrack?;
    let sides = if own.reply == winner.reply {
        format!("both want the reply tuple {}", own.reply)
    } else {
        format!("they collide in {} and {}", own.reply, winner.reply)
    };
    Some(Decision {
        cause: Cause::ConntrackClash,
        summary: format!(
            "Conntrack dropped the query on CPU {}: its new entry clashed with that of {} and could not be merged; {sides}.",
            packet.cpu, winner.original
        ),
        decisive: Some(decisive),
    })
}
