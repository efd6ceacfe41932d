//! What happened to a decided query, moment by moment, as timelines and sequence
//! diagrams show it.

use serde_json::Value;

use super::{Evidence, Query, Sibling, Verdict};
use crate::{identity::Owner, time::Timestamp};

/// One moment of a verdict.
#[derive(Clone, Copy, Debug)]
pub enum Moment<'a> {
    /// The other query of a clash was sent.
    OtherSent(&'a Sibling),
    /// Something was observed.
    Seen(&'a Evidence),
}

impl Moment<'_> {
    /// When.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::OtherSent(other) => other.query.sent,
            Self::Seen(evidence) => evidence.at,
        }
    }

    /// The processor it happened on, where that is known.
    #[must_use]
    pub fn cpu(&self) -> Option<u64> {
        match self {
            Self::OtherSent(_) => None,
            Self::Seen(evidence) => evidence.detail.get("cpu").and_then(Value::as_u64),
        }
    }

    /// What, in words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::OtherSent(Sibling { owner, query }) => {
                format!("the other query was sent: {}", asked(query, owner))
            }
            Self::Seen(evidence) => evidence.fact.clone(),
        }
    }
}

impl Verdict {
    /// All that was seen of it, in order of time.
    #[must_use]
    pub fn moments(&self) -> Vec<Moment<'_>> {
        let other = self.sibling.iter().map(Moment::OtherSent);
        let mut moments: Vec<_> = other.chain(self.evidence.iter().map(Moment::Seen)).collect();
        moments.sort_by_key(Moment::at);
        moments
    }

    /// Both conntrack entries of a clash, as `[direction, first, second]` each;
    /// empty for anything else.
    #[must_use]
    pub fn colliding(&self) -> Vec<[&str; 3]> {
        let Some(tuples) = self.evidence.iter().find_map(|item| item.detail.get("tuples")) else {
            return Vec::new();
        };
        let tuple = |side: &str, direction: &str| {
            tuples.get(side).and_then(|side| side.get(direction)).and_then(Value::as_str)
        };
        ["original", "reply"]
            .map(|direction| {
                let [first, second] =
                    ["winner", "loser"].map(|side| tuple(side, direction).unwrap_or("?"));
                [direction, first, second]
            })
            .to_vec()
    }
}

/// A query in one line.
#[must_use]
pub fn asked(query: &Query, owner: &Owner) -> String {
    let question = query.question.as_ref().map_or_else(|| "? ?".to_owned(), ToString::to_string);
    let ends = query.ends();
    format!("{question}, id {}, {} -> {}{ends} of {owner}", query.id, query.client, query.server)
}
