//! Cause `cpu-backlog-full`.
//! evidence: the kernel dropped the packet where it puts packets on a
//!           processor's backlog
//! source:   net/core/dev.c, enqueue_to_backlog (5.10; reason since 5.18)

use super::{Decision, Timeline, direction, dropped_by, how};
use crate::engine::{Cause, DroppedBy};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, fact) = dropped_by(timeline, DroppedBy::Backlog)?;
    Some(Decision {
        cause: Cause::CpuBacklogFull,
        summary: format!(
            "The packet backlog of a processor was full; CPU {} could not pass on the {} ({}).",
            fact.packet.cpu,
            direction(fact),
            how(fact)
        ),
        decisive: Some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{Case, device_queue_drop, drop_by, fact};

    #[test]
    fn a_full_backlog_is_told_by_the_drop() {
        let kind = drop_by(DroppedBy::Backlog, "CPU_BACKLOG", "enqueue_to_backlog+0x1a");
        let decision = decide(&Case::of([fact(kind)]).timeline()).unwrap();
        assert_eq!(decision.cause, Cause::CpuBacklogFull);
        assert_eq!(
            decision.summary,
            "The packet backlog of a processor was full; CPU 1 could not pass on the query (CPU_BACKLOG at enqueue_to_backlog+0x1a)."
        );
    }

    #[test]
    fn a_full_device_queue_is_not() {
        assert_eq!(decide(&Case::of([fact(device_queue_drop())]).timeline()), None);
    }
}
