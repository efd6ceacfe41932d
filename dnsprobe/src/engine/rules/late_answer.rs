//! Cause `late-answer`.
//! evidence: the answer came from the address that was asked, and no socket
//!           was there any more
//! source:   net/ipv4/udp.c, __udp4_lib_rcv (5.10; drop reason since 5.17)

use super::{Decision, Timeline};
use crate::engine::{Cause, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, ()) = timeline.find(|fact| {
        let no_socket = matches!(
            fact.kind,
            FactKind::Drop { no_socket: true, .. }
                | FactKind::Unreachable { icmp_type: 3, icmp_code: 3 }
        );
        let packet = &fact.packet;
        (no_socket && packet.is_answer && packet.tuple.source == timeline.query.id.server)
            .then_some(())
    })?;
    let after_ns = timeline.facts[decisive].packet.at_ns - timeline.query.start_ns;
    Some(Decision {
        cause: Cause::LateAnswer,
        summary: format!(
            "The answer came {:.3} s after the query, when the client had closed its socket.",
            std::time::Duration::from_nanos(after_ns).as_secs_f64()
        ),
        decisive: Some(decisive),
    })
}
