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
}

/// "query" or "answer".
fn direction(fact: &Fact) -> &'static str {
    if fact.packet.is_answer { "answer" } else { "query" }
}
