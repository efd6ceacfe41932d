//! What did not happen, with numbers, so that nobody has to look for it again.

use serde::Serialize;

use super::NotRuledOut;
use crate::{
    engine::Cause,
    stats::{Counts, Snapshot},
};

/// Something that was looked for and did not happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuledOut {
    /// What, as a stable name.
    pub what: &'static str,
    /// Of how many it is none.
    pub of: u64,
    /// In words.
    pub text: String,
}

/// Causes that belong together: what they are called, the hundreds of their
/// numbers, and the hooks without which none of them is seen.
struct Family {
    what: &'static str,
    words: &'static str,
    hundreds: u16,
    hooks: &'static [&'static str],
}

const FAMILIES: [Family; 5] = [
    Family {
        what: "conntrack-drops",
        words: "conntrack drops",
        hundreds: 1,
        hooks: &["drop", "conntrack-clash", "conntrack-confirm", "conntrack-full"],
    },
    Family {
        what: "ipvs-drops",
        words: "drops by IPVS",
        hundreds: 2,
        hooks: &["ipvs-verdict", "ipvs-connection"],
    },
    Family {
        what: "full-sockets",
        words: "full socket buffers or backlogs",
        hundreds: 3,
        hooks: &["drop"],
    },
    Family {
        what: "refusals",
        words: "drops by rules, or closed ports",
        hundreds: 4,
        hooks: &["drop", "no-listener"],
    },
    Family {
        what: "silence",
        words: "queries without an answer from outside, or with a late one",
        hundreds: 5,
        hooks: &["transmit", "drop"],
    },
];

/// Sums over all clients that are looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub(super) queries: u64,
    pub(super) answered: u64,
    pub(super) lost: u64,
    pub(super) in_flight: u64,
    near_misses: u64,
    failed_answers: u64,
    by_family: [u64; 10],
}

impl Sums {
    pub(super) fn add(&mut self, counts: &Counts) {
        self.queries += counts.queries;
        self.answered += counts.answered;
        self.lost += counts.lost_total;
        self.in_flight += counts.in_flight;
        self.near_misses += counts.near_misses.values().sum::<u64>();
        for (cause, count) in &counts.lost {
            self.by_family[family(*cause)] += count;
        }
        for code in ["SERVFAIL", "REFUSED"] {
            self.failed_answers += counts.rcodes.get(code).copied().unwrap_or(0);
        }
    }
}

fn family(cause: Cause) -> usize {
    usize::from(cause as u16 / 100).min(9)
}

/// What was ruled out, and what could not be, where queries were seen.
pub(super) fn ruled_out(
    sums: &Sums,
    slow: u64,
    slow_ms: u128,
    snapshot: &Snapshot,
) -> (Vec<RuledOut>, Vec<NotRuledOut>) {
    let (mut out, mut not_out) = (Vec::new(), Vec::new());
    if sums.queries == 0 {
        return (out, not_out);
    }
    let mut none = |what, of, count: u64, text: String| {
        if count == 0 && of > 0 {
            out.push(RuledOut { what, of, text });
        }
    };
    none("lost-queries", sums.queries, sums.lost, format!("0 of {} queries lost", sums.queries));
    let answers = sums.answered;
    none(
        "failed-answers",
        answers,
        sums.failed_answers,
        format!("0 of {answers} answers SERVFAIL or REFUSED"),
    );
    none(
        "slow-answers",
        answers,
        slow,
        format!("0 of {answers} answers took {slow_ms} ms or longer"),
    );
    for family in &FAMILIES {
        let unseen: Vec<&str> = snapshot
            .completeness
            .missing
            .iter()
            .map(|missing| missing.role.as_str())
            .filter(|role| family.hooks.contains(role))
            .collect();
        if !unseen.is_empty() {
            let reason = format!("not attached: {}", unseen.join(", "));
            not_out.push(NotRuledOut { what: family.what, reason });
        } else if sums.lost > 0 {
            let count = sums.by_family[usize::from(family.hundreds)];
            let text = format!("0 {} for {} lost queries", family.words, sums.lost);
            none(family.what, sums.lost, count, text);
        }
    }
    none(
        "near-misses",
        sums.queries,
        sums.near_misses,
        format!("0 near misses in {} queries", sums.queries),
    );
    (out, not_out)
}
