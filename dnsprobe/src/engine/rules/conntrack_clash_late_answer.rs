//! Cause `conntrack-clash-late-answer`.
//! evidence: a clash was resolved for this query, and over a second later its
//!           answer reached the client from the address in the clashed entry's
//!           reply tuple instead of the one that was asked
//! source:   net/netfilter/nf_conntrack_core.c, nf_ct_resolve_clash_harder:
//!           the loser's entry lives for one second (5.10)

use super::{Decision, Timeline};
use crate::engine::{Cause, FactKind};

/// `nf_ct_resolve_clash_harder`: "loser_ct->timeout = nfct_time_stamp + HZ".
/// One tick of the slowest kernel (100 Hz) is allowed for.
const ENTRY_LIFE_NS: u64 = 990_000_000;

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (clash, backend) = timeline.find(|fact| match &fact.kind {
        FactKind::Clash { resolved: true, .. } if !fact.packet.is_answer => {
            Some(fact.packet.conntrack?.reply.source)
        }
        _ => None,
    })?;
    let clash_ns = timeline.facts[clash].packet.at_ns;
    let (decisive, ()) = timeline.find(|fact| {
        let packet = &fact.packet;
        let refused = matches!(fact.kind, FactKind::Stray | FactKind::Drop { .. });
        (refused
            && packet.is_answer
            && packet.tuple.source == backend
            && backend != timeline.query.id.server
            && packet.at_ns >= clash_ns + ENTRY_LIFE_NS)
            .then_some(())
    })?;
    let late_ns = timeline.facts[decisive].packet.at_ns - clash_ns;
    Some(Decision {
        cause: Cause::ConntrackClashLateAnswer,
        summary: format!(
            "The answer came {:.3} s after a resolved clash, untranslated: from {backend} instead of {}, so the client did not take it.",
            std::time::Duration::from_nanos(late_ns).as_secs_f64(),
            timeline.query.id.server
        ),
        decisive: Some(decisive),
    })
}
