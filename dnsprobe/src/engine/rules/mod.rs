//! One file per cause. A rule looks at one lost query's timeline and either
//! proves its cause or says nothing. The order of [`RULES`] settles what
//! several true facts about one packet mean: the reason stands before the
//! mechanism it shows through (a clash, a full table and an IPVS drop all
//! also appear as a netfilter drop).

mod conntrack_clash;
mod conntrack_clash_late_answer;
mod conntrack_table_full;
mod ipvs_stale_backend;
mod late_answer;
mod no_listener;
mod policy_drop;
mod remote_silence;
mod socket_buffer_full;

use super::{Blindness, Cause, Fact, FactKind, QuerySeen};

/// Everything known of one query that got no answer.
pub(crate) struct Timeline<'a> {
    pub(crate) query: &'a QuerySeen,
    /// In order of time.
    pub(crate) facts: &'a [Fact],
    pub(crate) blindness: &'a Blindness,
    pub(crate) events_lost_ns: Option<u64>,
}

/// A proven cause.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) cause: Cause,
    /// The proof in one sentence.
    pub(crate) summary: String,
    /// Index of the decisive fact; `None` when the proof is an absence.
    pub(crate) decisive: Option<usize>,
}

type Rule = fn(&Timeline<'_>) -> Option<Decision>;

const RULES: [Rule; 9] = [
    conntrack_clash::decide,
    conntrack_table_full::decide,
    ipvs_stale_backend::decide,
    socket_buffer_full::decide,
    no_listener::decide,
    conntrack_clash_late_answer::decide,
    policy_drop::decide,
    late_answer::decide,
    remote_silence::decide,
];

/// The first rule's decision, or `unexplained`.
pub(crate) fn decide(timeline: &Timeline<'_>) -> Decision {
    RULES.iter().find_map(|rule| rule(timeline)).unwrap_or_else(|| unexplained(timeline))
}

fn unexplained(timeline: &Timeline<'_>) -> Decision {
    let seen = match timeline.facts.last().map(|fact| &fact.kind) {
        None => "nothing was seen to happen to it".to_owned(),
        Some(FactKind::Drop { reason, location, .. }) => format!(
            "it was dropped at {location} ({}), which alone does not say why",
            reason.as_deref().unwrap_or("this kernel names no reason")
        ),
        Some(FactKind::ConfirmDrop) => {
            "conntrack refused to confirm its entry, for a reason that was not seen".to_owned()
        }
        Some(FactKind::IpvsDrop { .. }) => {
            "IPVS dropped it, for a reason that was not seen".to_owned()
        }
        Some(FactKind::Stray) => "an answer came from an address it did not ask".to_owned(),
        Some(FactKind::Unreachable { icmp_type, icmp_code }) => {
            format!("ICMP error type {icmp_type} code {icmp_code} answered it")
        }
        Some(FactKind::Clash { .. }) => "its conntrack entry clashed and was kept".to_owned(),
    };
    Decision {
        cause: Cause::Unexplained,
        summary: format!("No answer came and no cause is proven: {seen}."),
        decisive: timeline.facts.len().checked_sub(1),
    }
}

impl<'a> Timeline<'a> {
    /// The first fact that `pick` makes something of, and its index.
    fn find<T>(&self, pick: impl Fn(&'a Fact) -> Option<T>) -> Option<(usize, T)> {
        self.facts.iter().enumerate().find_map(|(index, fact)| Some((index, pick(fact)?)))
    }

    /// Whether events may be missing that would tell of this query.
    fn may_miss_events(&self) -> bool {
        self.events_lost_ns.is_some_and(|at_ns| at_ns >= self.query.start_ns)
    }

    /// Whether a fact is a port unreachable from the place the packet was sent
    /// to. A netfilter rule sends the same (REJECT's default): then the rule's
    /// own drop of the packet was seen, or would not have been.
    fn is_port_unreachable(&self, error: &Fact) -> bool {
        // RFC 792 and RFC 4443 section 3.1.
        let wanted = if error.packet.tuple.destination.is_ipv4() { (3, 3) } else { (1, 4) };
        let FactKind::Unreachable { icmp_type, icmp_code } = error.kind else { return false };
        let rejected = self.facts.iter().any(|fact| {
            fact.packet.is_answer == error.packet.is_answer
                && matches!(fact.kind, FactKind::Drop { netfilter: true, .. })
        });
        (icmp_type, icmp_code) == wanted
            && !(rejected || self.blindness.drops || self.may_miss_events())
    }
}

/// "query" or "answer".
fn direction(fact: &Fact) -> &'static str {
    if fact.packet.is_answer { "answer" } else { "query" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{
        Case, SECOND, SENT, answer_fact, backend, device, device_queue_drop, fact, ipvs_drop,
        lost_clash, netfilter_drop, no_socket, queue_full, resolved_clash, service, table_full,
    };

    fn summary(facts: impl IntoIterator<Item = Fact>) -> String {
        let decision = Case::of(facts).decision();
        assert_eq!(decision.cause, Cause::Unexplained);
        decision.summary
    }

    #[test]
    fn what_is_not_explained_says_what_was_seen_last() {
        let cases: [(Fact, &str); 6] = [
            (fact(device_queue_drop()), "dropped at __dev_queue_xmit+0x7d1 (QDISC_DROP), which"),
            (fact(FactKind::ConfirmDrop), "conntrack refused to confirm its entry"),
            (fact(FactKind::IpvsDrop { backend: None }), "IPVS dropped it"),
            (answer_fact(FactKind::Stray, backend(2)), "from an address it did not ask"),
            (fact(FactKind::Unreachable { icmp_type: 3, icmp_code: 1 }), "type 3 code 1 answered"),
            (resolved_clash(), "its conntrack entry clashed and was kept"),
        ];
        for (fact, expected) in cases {
            let summary = summary([fact]);
            assert!(summary.contains(expected), "{summary}");
        }
        assert!(summary([]).contains("nothing was seen to happen to it"));
        let last = summary([fact(FactKind::ConfirmDrop), fact(device_queue_drop())]);
        assert!(last.contains("QDISC_DROP"), "{last}");
    }

    #[test]
    fn a_kernel_without_reasons_is_said_to_have_none() {
        let mut drop = device_queue_drop();
        if let FactKind::Drop { reason, .. } = &mut drop {
            *reason = None;
        }
        assert!(summary([fact(drop)]).contains("this kernel names no reason"));
    }

    #[test]
    fn every_loss_has_a_case_that_ends_in_it() {
        let mut silent = Case::of([]);
        silent.query.device = Some((device(true), SENT));
        let late = answer_fact(FactKind::Stray, backend(2)).at(SENT + 2 * SECOND);
        let mut seen: Vec<Cause> = [
            Case::of([lost_clash()]),
            Case::of([resolved_clash(), late]),
            Case::of([fact(table_full())]),
            Case::of([fact(ipvs_drop(false))]),
            Case::of([fact(queue_full(1, 1))]),
            Case::of([fact(netfilter_drop())]),
            Case::of([fact(no_socket())]),
            Case::of([answer_fact(no_socket(), service(10))]),
            Case::of([]),
            silent,
        ]
        .iter()
        .map(Case::cause)
        .collect();
        seen.sort_unstable();
        let losses: Vec<Cause> = Cause::ALL.into_iter().filter(|cause| cause.is_loss()).collect();
        assert_eq!(seen, losses);
    }
}
