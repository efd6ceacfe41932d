//! The kernel's aggregates as differences: most of their hundreds of buckets
//! stay as they are from one reading to the next.

use std::collections::HashMap;

use dnsprobe_common::{
    dns::RCODES,
    histogram::BUCKETS,
    stats::{Latency, Stats, StatsKey},
};
use serde::{Deserialize, Serialize};

use crate::stats::AggregateChanges;

/// One aggregate's change since it was last written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delta {
    key: Key,
    /// The numbers are the aggregate's own, not differences.
    whole: bool,
    queries: i64,
    answered: i64,
    not_followed: i64,
    rcodes: Vec<(u16, i64)>,
    latency: LatencyDelta,
    read_delay: LatencyDelta,
    tgid: u32,
}

/// [`StatsKey`] without anything that depends on the byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    cgroup: u64,
    command: [u8; 16],
    server: [u8; 16],
    netns: u32,
    server_port: u16,
    role: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LatencyDelta {
    sum_ns: i64,
    max_ns: u64,
    buckets: Vec<(u16, i64)>,
}

/// A reading, as far as it differs from the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Changes {
    /// Nothing told before counts any more: `changed` has all there is.
    anew: bool,
    /// In the order in which the kernel was read.
    changed: Vec<Delta>,
    /// Those that are no more.
    given_back: Vec<Key>,
}

/// Every aggregate as it stood. The writer and the reader each keep one, and
/// change it alike.
#[derive(Debug, Default)]
pub(super) struct Aggregates(HashMap<StatsKey, Box<Stats>>);

/// Aggregates that a file may make the reader keep: more than there are at once.
const MAX_KNOWN: usize = 16_384;

impl Aggregates {
    /// What changed. `anew`: tell all of them as they are, because what was told may
    /// not have arrived.
    pub(super) fn changes(&mut self, reading: &AggregateChanges, anew: bool) -> Changes {
        let mut changed = Vec::new();
        for (key, now) in &reading.changed {
            let before = self.0.insert(*key, now.clone());
            if before.as_ref() != Some(now) && !anew {
                changed.push(Delta::between(key, before.as_deref(), now));
            }
        }
        if anew {
            changed.extend(self.0.iter().map(|(key, now)| Delta::between(key, None, now)));
        }
        let given_back = &reading.given_back;
        given_back.iter().for_each(|key| drop(self.0.remove(key)));
        Changes { anew, changed, given_back: given_back.iter().map(Key::of).collect() }
    }

    /// The reading again.
    pub(super) fn apply(&mut self, changes: &Changes) -> AggregateChanges {
        let mut old = HashMap::new();
        // The second: no writer sends more, but a file may hold anything.
        if changes.anew || self.0.len() + changes.changed.len() > MAX_KNOWN {
            old = std::mem::take(&mut self.0);
        }
        let mut changed = Vec::new();
        for delta in &changes.changed {
            let key = delta.key.stats_key();
            old.remove(&key);
            let stats = self.0.entry(key).or_insert_with(|| Box::new(EMPTY));
            delta.apply(stats);
            changed.push((key, stats.clone()));
        }
        let given_back = changes.given_back.iter().map(Key::stats_key);
        let given_back: Vec<_> = given_back.chain(old.into_keys()).collect();
        given_back.iter().for_each(|key| drop(self.0.remove(key)));
        AggregateChanges { changed, given_back }
    }
}

const EMPTY: Stats = Stats {
    queries: 0,
    answered: 0,
    not_followed: 0,
    rcodes: [0; RCODES],
    latency: NO_LATENCY,
    read_delay: NO_LATENCY,
    tgid: 0,
    pad: 0,
};
const NO_LATENCY: Latency = Latency { sum_ns: 0, max_ns: 0, buckets: [0; BUCKETS] };

impl Delta {
    /// Against nothing when there is no `before`.
    fn between(key: &StatsKey, before: Option<&Stats>, now: &Stats) -> Self {
        let whole = before.is_none();
        let before = before.unwrap_or(&EMPTY);
        let rcodes = before.rcodes.iter().zip(&now.rcodes).zip(0..);
        Self {
            key: Key::of(key),
            whole,
            queries: difference(before.queries, now.queries),
            answered: difference(before.answered, now.answered),
            not_followed: difference(before.not_followed, now.not_followed),
            rcodes: rcodes
                .filter(|((before, now), _)| before != now)
                .map(|((before, now), code)| (code, difference(*before, *now)))
                .collect(),
            latency: LatencyDelta::between(&before.latency, &now.latency),
            read_delay: LatencyDelta::between(&before.read_delay, &now.read_delay),
            tgid: now.tgid,
        }
    }

    fn apply(&self, stats: &mut Stats) {
        if self.whole {
            *stats = EMPTY;
        }
        stats.queries = stats.queries.saturating_add_signed(self.queries);
        stats.answered = stats.answered.saturating_add_signed(self.answered);
        stats.not_followed = stats.not_followed.saturating_add_signed(self.not_followed);
        for (code, change) in &self.rcodes {
            if let Some(count) = stats.rcodes.get_mut(usize::from(*code)) {
                *count = count.saturating_add_signed(*change);
            }
        }
        self.latency.apply(&mut stats.latency);
        self.read_delay.apply(&mut stats.read_delay);
        stats.tgid = self.tgid;
    }
}

impl LatencyDelta {
    fn between(before: &Latency, now: &Latency) -> Self {
        let buckets = before.buckets.iter().zip(&now.buckets).zip(0..);
        Self {
            sum_ns: difference(before.sum_ns, now.sum_ns),
            max_ns: now.max_ns,
            buckets: buckets
                .filter(|((before, now), _)| before != now)
                .map(|((before, now), bucket)| (bucket, i64::from(*now) - i64::from(*before)))
                .collect(),
        }
    }

    fn apply(&self, latency: &mut Latency) {
        latency.sum_ns = latency.sum_ns.saturating_add_signed(self.sum_ns);
        latency.max_ns = self.max_ns;
        for (bucket, change) in &self.buckets {
            if let Some(count) = latency.buckets.get_mut(usize::from(*bucket)) {
                let sum = i64::from(*count).saturating_add(*change);
                *count = u32::try_from(sum.max(0)).unwrap_or(u32::MAX);
            }
        }
    }
}

fn difference(before: u64, now: u64) -> i64 {
    now.wrapping_sub(before).cast_signed()
}

impl Key {
    fn of(key: &StatsKey) -> Self {
        Self {
            cgroup: key.cgroup,
            command: dnsprobe_common::flow::command_bytes(key.command),
            server: bytes(key.server),
            netns: key.netns,
            server_port: key.server_port,
            role: key.role,
        }
    }

    fn stats_key(&self) -> StatsKey {
        let word = |at: usize| {
            let eight = std::array::from_fn(|byte| self.command[at + byte]);
            u64::from_ne_bytes(eight)
        };
        StatsKey {
            cgroup: self.cgroup,
            command: [word(0), word(8)],
            server: std::array::from_fn(|index| {
                u32::from_ne_bytes(std::array::from_fn(|byte| self.server[index * 4 + byte]))
            }),
            netns: self.netns,
            server_port: self.server_port,
            role: self.role,
            pad: 0,
        }
    }
}

fn bytes(words: [u32; 4]) -> [u8; 16] {
    std::array::from_fn(|index| words[index / 4].to_ne_bytes()[index % 4])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(cgroup: u64) -> StatsKey {
        let command = [7 << 40, 3];
        StatsKey { cgroup, command, server: [1, 2, 3, 4 << 24], netns: 9, ..StatsKey::default() }
    }

    fn stats(queries: u64, bucket: usize) -> Box<Stats> {
        let mut stats = EMPTY;
        stats.queries = queries;
        stats.answered = queries / 2;
        stats.rcodes[3] = queries / 3;
        stats.latency.sum_ns = queries * 1_000;
        stats.latency.buckets[bucket] = u32::try_from(queries).unwrap();
        stats.tgid = 5;
        Box::new(stats)
    }

    #[test]
    fn keys_read_back() {
        assert_eq!(Key::of(&key(3)).stats_key(), key(3));
    }

    fn changed(changed: &[(StatsKey, Box<Stats>)]) -> AggregateChanges {
        AggregateChanges { changed: changed.to_vec(), given_back: Vec::new() }
    }

    #[test]
    fn an_aggregate_that_did_not_change_is_not_written() {
        let (mut writer, mut reader) = (Aggregates::default(), Aggregates::default());
        let first = changed(&[(key(1), stats(4, 0)), (key(2), stats(6, 1))]);
        assert_eq!(reader.apply(&writer.changes(&first, false)), first);
        let second = changed(&[(key(1), stats(4, 0)), (key(2), stats(9, 2))]);
        let changes = writer.changes(&second, false);
        assert_eq!((changes.changed.len(), changes.given_back.len()), (1, 0));
        assert_eq!(reader.apply(&changes).changed, second.changed[1..]);
    }

    #[test]
    fn a_reader_that_starts_late_counts_from_there() {
        let mut writer = Aggregates::default();
        writer.changes(&changed(&[(key(1), stats(4, 0))]), false);
        let changes = writer.changes(&changed(&[(key(1), stats(6, 0))]), false);
        assert_eq!(Aggregates::default().apply(&changes).changed[0].1.queries, 2);
    }

    #[test]
    fn after_a_gap_everything_is_told_as_it_is() {
        let (mut writer, mut reader) = (Aggregates::default(), Aggregates::default());
        let first = changed(&[(key(1), stats(4, 0)), (key(2), stats(1, 1)), (key(3), stats(2, 1))]);
        reader.apply(&writer.changes(&first, false));
        // This one is lost on the way.
        let lost =
            AggregateChanges { given_back: vec![key(2)], ..changed(&[(key(1), stats(5, 0))]) };
        writer.changes(&lost, false);
        let mut third = reader.apply(&writer.changes(&changed(&[(key(1), stats(8, 0))]), true));
        third.changed.sort_by_key(|(key, _)| key.cgroup);
        assert_eq!(third.changed, [(key(1), stats(8, 0)), (key(3), stats(2, 1))]);
        assert_eq!(third.given_back, [key(2)]);
    }

    #[test]
    fn a_key_that_comes_back_begins_at_nothing() {
        let (mut writer, mut reader) = (Aggregates::default(), Aggregates::default());
        reader.apply(&writer.changes(&changed(&[(key(1), stats(4, 0))]), false));
        let gone = AggregateChanges { given_back: vec![key(1)], ..AggregateChanges::default() };
        assert_eq!(reader.apply(&writer.changes(&gone, false)), gone);
        let again = changed(&[(key(1), stats(9, 0))]);
        assert_eq!(reader.apply(&writer.changes(&again, false)), again);
    }

    #[test]
    fn a_file_cannot_make_the_reader_keep_any_number() {
        let mut reader = Aggregates::default();
        for number in 0..MAX_KNOWN as u64 + 9 {
            reader.apply(
                &Aggregates::default().changes(&changed(&[(key(number), stats(1, 0))]), false),
            );
        }
        assert_eq!(reader.0.len(), 9);
    }

    proptest! {
        #[test]
        fn any_readings_read_back(
            readings in prop::collection::vec(
                prop::collection::btree_map(0..6_u64, (0..50_u64, 0..BUCKETS), 0..6), 1..8),
        ) {
            let (mut writer, mut reader) = (Aggregates::default(), Aggregates::default());
            for reading in readings {
                let reading: Vec<_> = reading
                    .into_iter()
                    .map(|(cgroup, (queries, bucket))| (key(cgroup), stats(queries, bucket)))
                    .collect();
                reader.apply(&writer.changes(&changed(&reading), false));
                for (key, stats) in &reading {
                    prop_assert_eq!(reader.0.get(key), Some(stats));
                }
            }
            prop_assert_eq!(reader.0, writer.0);
        }
    }
}
