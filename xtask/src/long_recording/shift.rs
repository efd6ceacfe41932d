//! A copy of an entry, as it would have been recorded later.

use ciborium::Value;

use super::file::{Entry, kind};

/// How a copy differs from what was recorded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shift {
    /// How much later it is, nanoseconds.
    pub(super) ns: u64,
    /// Whether it is the first copy.
    pub(super) first: bool,
}

impl Shift {
    pub(super) fn entry(self, entry: &Entry) -> Entry {
        let mut entry = entry.clone();
        match (entry.kind, &mut entry.body) {
            (kind::OBSERVATION, body) => self.moments(body),
            (kind::READING, body) => {
                self.moments(body);
                if !self.first {
                    continues(body);
                }
            }
            // Events lost, facts forgotten, it was this late.
            (6..=8, body) => self.moment(body),
            _ => {}
        }
        entry
    }

    /// Every field that is a moment: `..._ns`, but for sums and maxima of the
    /// aggregates, which are in `changes`.
    fn moments(self, value: &mut Value) {
        match value {
            Value::Map(fields) => {
                for (name, field) in fields {
                    match name.as_text() {
                        Some("changes") => {}
                        Some(name) if name.ends_with("_ns") => self.moment(field),
                        _ => self.moments(field),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.moments(item)),
            _ => {}
        }
    }

    fn moment(self, value: &mut Value) {
        if let Some(at_ns) = value.as_integer().and_then(|at| u64::try_from(at).ok()) {
            *value = Value::from(at_ns + self.ns);
        }
    }
}

/// An aggregate that was new in the recording adds to its earlier copy.
fn continues(reading: &mut Value) {
    let changed = field(reading, "changes").and_then(|changes| field(changes, "changed"));
    let Some(Value::Array(deltas)) = changed else { return };
    for delta in deltas {
        if let Some(whole) = field(delta, "whole") {
            *whole = Value::Bool(false);
        }
    }
}

fn field<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let fields = value.as_map_mut()?;
    fields.iter_mut().find(|(key, _)| key.as_text() == Some(name)).map(|(_, field)| field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, Value)]) -> Value {
        Value::Map(fields.iter().map(|(name, value)| ((*name).into(), value.clone())).collect())
    }

    #[test]
    fn moments_move_and_durations_of_aggregates_do_not() {
        let reading = |time: u64, whole: bool| {
            let latency = map(&[("sum_ns", 5.into()), ("max_ns", 7.into())]);
            let delta = map(&[("whole", whole.into()), ("latency", latency)]);
            let changes = map(&[("changed", Value::Array(vec![delta]))]);
            let fields =
                [("time_ns", time.into()), ("changes", changes), ("events_lost", 1.into())];
            Entry { kind: kind::READING, body: map(&fields) }
        };
        let shift = Shift { ns: 1_000, first: false };
        assert_eq!(shift.entry(&reading(10, true)), reading(1_010, false));
        let first = Shift { ns: 0, first: true };
        assert_eq!(first.entry(&reading(10, true)), reading(10, true));
    }

    #[test]
    fn a_moment_that_was_not_seen_stays_unseen() {
        let seen = |start: u64| {
            let query = map(&[("start_ns", start.into()), ("middle_ns", Value::Null)]);
            Entry { kind: kind::OBSERVATION, body: map(&[("query", query), ("id", 10.into())]) }
        };
        let shift = Shift { ns: 1_000, first: false };
        assert_eq!(shift.entry(&seen(10)), seen(1_010));
        let now = |at: u64| Entry { kind: kind::NOW, body: at.into() };
        assert_eq!(shift.entry(&now(3)), now(1_003));
    }
}
