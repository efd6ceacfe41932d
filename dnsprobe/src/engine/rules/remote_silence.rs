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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::FactKind;
    use crate::engine::testing::{
        Case, MS, SENT, STRAY, answer_fact, backend, device, device_queue_drop, fact,
        resolved_clash,
    };

    fn left() -> Case {
        let mut case = Case::of([]);
        case.query.device = Some((device(true), SENT + MS));
        case
    }

    #[test]
    fn a_query_that_left_the_node_and_met_nothing_since_met_silence() {
        let decision = decide(&left().timeline()).unwrap();
        assert_eq!(decision.cause, Cause::RemoteSilence);
        assert_eq!(decision.decisive, None);
        assert_eq!(
            decision.summary,
            "The query left this node through eth0 1.000 ms after it was sent; nothing came back and nothing here dropped it."
        );
    }

    #[test]
    fn a_query_that_stayed_or_was_not_seen_to_leave_is_unexplained() {
        let mut stayed = left();
        stayed.query.device = Some((device(false), SENT + MS));
        assert_eq!(stayed.cause(), Cause::Unexplained);
        assert_eq!(Case::of([]).cause(), Cause::Unexplained);
    }

    #[test]
    fn any_fact_breaks_the_silence() {
        let facts = [
            resolved_clash(),
            answer_fact(STRAY, backend(2)),
            fact(device_queue_drop()),
            fact(FactKind::ConfirmDrop),
        ];
        for fact in facts {
            let mut case = left();
            case.facts.push(fact);
            assert_eq!(decide(&case.timeline()), None);
        }
    }

    #[test]
    fn silence_is_not_heard_while_events_are_lost() {
        assert_eq!(left().events_lost(SENT + 2 * MS).cause(), Cause::Unexplained);
        assert_eq!(left().events_lost(SENT).cause(), Cause::Unexplained);
        assert_eq!(left().events_lost(SENT - 1).cause(), Cause::RemoteSilence);
    }

    #[test]
    fn silence_is_not_heard_without_the_hooks_that_would_break_it() {
        assert_eq!(left().blind(|b| b.drops = true).cause(), Cause::Unexplained);
        assert_eq!(left().blind(|b| b.transmit = true).cause(), Cause::Unexplained);
        assert_eq!(left().blind(|b| b.ipvs = true).cause(), Cause::RemoteSilence);
    }
}
