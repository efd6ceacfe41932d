//! Cause `conntrack-table-full`.
//! evidence: netfilter dropped the packet, which has no conntrack entry, right
//!           after early_drop found nothing to evict for it on that processor
//! not this: a rule in the raw table, which drops before any entry is wanted
//! source:   net/netfilter/nf_conntrack_core.c, __nf_conntrack_alloc (5.10)

use super::{Decision, Timeline, direction};
use crate::engine::{Cause, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, full_ns) = timeline.find(|fact| match &fact.kind {
        FactKind::Drop { netfilter: true, table_full_ns, .. } => *table_full_ns,
        _ => None,
    })?;
    let fact = &timeline.facts[decisive];
    let before = fact.packet.at_ns.saturating_sub(full_ns);
    Some(Decision {
        cause: Cause::ConntrackTableFull,
        summary: format!(
            "The conntrack table was full and nothing could be evicted; the {} was dropped {:.1} µs later without an entry.",
            direction(fact),
            std::time::Duration::from_nanos(before).as_secs_f64() * 1e6
        ),
        decisive: Some(decisive),
    })
}
