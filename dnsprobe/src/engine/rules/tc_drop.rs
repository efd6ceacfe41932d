//! Cause `tc-drop`.
//! evidence: the kernel's drop reason is a tc filter, a queueing discipline or
//!           another BPF program of the data path; before there were reasons,
//!           the packet was freed where only those free packets
//! source:   net/core/dev.c, sch_handle_ingress, sch_handle_egress,
//!           __dev_xmit_skb (5.10; reasons since 5.18); include/trace/events/
//!           qdisc.h, qdisc_drop (7.0)

use super::{Decision, Timeline, direction, dropped_by, how, place};
use crate::engine::{Cause, DroppedBy};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, fact) = dropped_by(timeline, DroppedBy::TrafficControl)?;
    Some(Decision {
        cause: Cause::TcDrop,
        summary: format!(
            "Traffic control dropped the {}{} ({}).",
            direction(fact),
            place(&fact.packet),
            how(fact)
        ),
        decisive: Some(decisive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{
        Case, device, device_queue_drop, fact, netfilter_drop, no_socket,
    };

    #[test]
    fn a_full_queue_of_a_device_is_traffic_control() {
        let mut fact = fact(device_queue_drop());
        fact.packet.device = Some(device(false));
        let decision = decide(&Case::of([fact]).timeline()).unwrap();
        assert_eq!(decision.cause, Cause::TcDrop);
        assert_eq!(
            decision.summary,
            "Traffic control dropped the query at device eth0 (QDISC_DROP at __dev_queue_xmit+0x7d1)."
        );
    }

    #[test]
    fn other_drops_are_not() {
        for kind in [netfilter_drop(), no_socket()] {
            assert_eq!(decide(&Case::of([fact(kind)]).timeline()), None);
        }
    }
}
