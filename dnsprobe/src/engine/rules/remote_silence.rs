//! Cause `remote-silence`.
//! evidence: a device that leads out of the node transmitted the query last,
//!           and nothing that would have been seen happened since
//! not this: any fact about the query, lost events, missing drop hook
//! source:   net/core/dev.c, xmit_one (net_dev_start_xmit, 5.10)

use super::{Decision, Timeline};
use crate::engine::Cause;

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let blind = timeline.blindness;
    if blind.drops || blind.transmit || timeline.may_miss_events() || !timeline.facts.is_empty() {
        return None;
    }
    let (device, at_ns) = timeline.query.device.as_ref()?;
    if !device.leaves_node {
        return None;
    }
    let name = device.name.as_deref().unwrap_or("?");
    Some(Decision {
        cause: Cause::RemoteSilence,
        summary: format!(
            "The query left this node through {name} {:.3} ms after it was sent; nothing came back and nothing here dropped it.",
            std::time::Duration::from_nanos(at_ns.saturating_sub(timeline.query.start_ns))
                .as_secs_f64()
                * 1e3
        ),
        decisive: None,
    })
}
