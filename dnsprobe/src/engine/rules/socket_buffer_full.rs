//! Cause `socket-buffer-full`, either side.
//! evidence: the packet was offered to a UDP socket and freed by the queueing
//!           function, on that processor
//! source:   net/ipv4/udp.c, __udp_queue_rcv_skb (5.10)

use super::{Decision, Timeline};
use crate::engine::{Cause, FactKind};

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, full) = timeline.find(|fact| match &fact.kind {
        FactKind::Drop { queue_full, .. } => *queue_full,
        _ => None,
    })?;
    let (what, side) = if timeline.facts[decisive].packet.is_answer {
        ("answer", "client's")
    } else {
        ("query", "server's")
    };
    let sizes = if full.buffer_bytes == 0 {
        String::new()
    } else {
        format!(" ({} of {} bytes in use)", full.used_bytes, full.buffer_bytes)
    };
    Some(Decision {
        cause: Cause::SocketBufferFull,
        summary: format!("The {what} did not fit into the {side} socket buffer{sizes}."),
        decisive: Some(decisive),
    })
}
