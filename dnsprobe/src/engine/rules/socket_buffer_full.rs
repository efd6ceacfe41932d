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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{
        Case, SENT, answer_fact, device_queue_drop, fact, netfilter_drop, no_socket, queue_full,
        service,
    };

    #[test]
    fn a_query_that_does_not_fit_is_the_servers_buffer() {
        let decision = decide(&Case::of([fact(queue_full(4608, 2304))]).timeline()).unwrap();
        assert_eq!(decision.cause, Cause::SocketBufferFull);
        assert_eq!(
            decision.summary,
            "The query did not fit into the server's socket buffer (4608 of 2304 bytes in use)."
        );
    }

    #[test]
    fn an_answer_that_does_not_fit_is_the_clients_buffer() {
        let answer = answer_fact(queue_full(0, 0), service(10));
        assert_eq!(
            Case::of([answer]).decision().summary,
            "The answer did not fit into the client's socket buffer."
        );
    }

    #[test]
    fn another_drop_is_not_a_full_buffer() {
        for kind in [netfilter_drop(), no_socket(), device_queue_drop()] {
            assert_eq!(decide(&Case::of([fact(kind)]).timeline()), None);
        }
    }

    #[test]
    fn a_full_buffer_is_proof_whatever_else_is_not_seen() {
        let case = Case::of([fact(queue_full(1, 1))])
            .events_lost(SENT)
            .blind(|b| (b.confirm, b.ipvs, b.table_full) = (true, true, true));
        assert_eq!(case.cause(), Cause::SocketBufferFull);
    }
}
