//! Cause `server-silent`.
//! evidence: the query was put on the socket of a server on this node, which
//!           sent no answer
//! not this: an answer that was dropped on its way back
//! source:   net/ipv4/udp.c, __udp_enqueue_schedule_skb (5.10)

use super::{Decision, Timeline};
use crate::engine::Cause;

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let at_server = timeline.query.at_server?;
    if timeline.facts.iter().any(|fact| fact.packet.is_answer) {
        return None;
    }
    let after = |at_ns: u64| {
        std::time::Duration::from_nanos(at_ns.saturating_sub(timeline.query.start_ns)).as_secs_f64()
            * 1e3
    };
    let summary = match at_server.read_ns {
        Some(read_ns) => format!(
            "A DNS server on this node read the query {:.3} ms after it was sent and never answered it.",
            after(read_ns)
        ),
        None => format!(
            "The query was put on the socket of a DNS server on this node {:.3} ms after it was sent; the server never read it.",
            after(at_server.queued_ns)
        ),
    };
    Some(Decision { cause: Cause::ServerSilent, summary, decisive: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{Case, answer_fact, at_server, netfilter_drop, service};

    fn taken() -> Case {
        let mut case = Case::of([]);
        case.query.at_server = Some(at_server());
        case
    }

    #[test]
    fn a_server_that_took_the_query_and_said_nothing_was_silent() {
        assert_eq!(taken().cause(), Cause::ServerSilent);
        assert_eq!(
            taken().decision().summary,
            "A DNS server on this node read the query 2.000 ms after it was sent and never answered it."
        );
    }

    #[test]
    fn a_server_that_does_not_read_is_silent_too() {
        let mut case = taken();
        case.query.at_server.as_mut().unwrap().read_ns = None;
        assert_eq!(
            case.decision().summary,
            "The query was put on the socket of a DNS server on this node 1.000 ms after it was sent; the server never read it."
        );
    }

    #[test]
    fn an_answer_that_was_dropped_was_sent() {
        let mut case = taken();
        case.facts.push(answer_fact(netfilter_drop(), service(10)));
        assert_eq!(case.cause(), Cause::PolicyDrop);
        assert_eq!(decide(&case.timeline()), None);
    }
}
