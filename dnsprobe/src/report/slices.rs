//! The time watched, cut into slices. However long it was there are at most
//! [`MAX`]: when they get more, every two become one.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    engine::{Cause, Verdict},
    stats::{BANDS, Counts, Snapshot},
    time::Timestamp,
};

/// Slices at most.
const MAX: usize = 240;

/// A piece of the time watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Slice {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Queries sent in it.
    pub queries: u64,
    /// Answers read in it, by latency; the report's `latency_bands` names them.
    pub latency: [u64; BANDS],
    /// Queries sent in it that were lost, by cause.
    pub lost: BTreeMap<Cause, u64>,
    /// Queries sent in it that were nearly lost, by cause.
    pub near_misses: BTreeMap<Cause, u64>,
}

impl Slice {
    /// Its length.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.end.unix_ns().saturating_sub(self.start.unix_ns()) as f64 / 1e9
    }

    /// The load: queries a second.
    #[must_use]
    pub fn queries_per_second(&self) -> f64 {
        let seconds = self.seconds();
        if seconds > 0.0 { self.queries as f64 / seconds } else { 0.0 }
    }

    /// Takes in the one right after it.
    fn absorb(&mut self, next: Self) {
        self.end = next.end;
        self.queries += next.queries;
        for (mine, more) in self.latency.iter_mut().zip(next.latency) {
            *mine += more;
        }
        for (mine, more) in [(&mut self.lost, next.lost), (&mut self.near_misses, next.near_misses)]
        {
            for (cause, count) in more {
                *mine.entry(cause).or_default() += count;
            }
        }
    }

    fn count(&mut self, sighting: Sighting) {
        let by_cause = if sighting.loss { &mut self.lost } else { &mut self.near_misses };
        *by_cause.entry(sighting.cause).or_default() += 1;
    }
}

/// A query that was lost, or nearly.
#[derive(Clone, Copy)]
struct Sighting {
    sent: Timestamp,
    cause: Cause,
    loss: bool,
}

/// Slices as they come. A verdict belongs to the slice in which its query was
/// sent, which may have ended seconds ago, or not have ended yet.
#[derive(Default)]
pub(super) struct Slices {
    done: Vec<Slice>,
    /// Windows that make a slice; 0 before the first.
    windows: usize,
    /// Windows in the last slice.
    in_last: usize,
    /// Of the window that has not ended yet.
    waiting: Vec<Sighting>,
}

impl Slices {
    pub(super) fn verdict(&mut self, verdict: &Verdict) {
        let Verdict { cause, loss, query, .. } = verdict;
        let sighting = Sighting { sent: query.sent, cause: *cause, loss: *loss };
        match self.done.last() {
            Some(last) if sighting.sent < last.end => self.put(sighting),
            _ => self.waiting.push(sighting),
        }
    }

    /// A window of the clients that are looked at ended.
    pub(super) fn window<'a>(
        &mut self,
        snapshot: &Snapshot,
        clients: impl Iterator<Item = &'a Counts>,
    ) {
        let window_ns = (snapshot.window_seconds * 1e9) as u64;
        let began = Timestamp::from_unix_ns(snapshot.time.unix_ns().saturating_sub(window_ns));
        let start = self.done.last().map_or(began, |last| last.end);
        let mut slice = Slice {
            start,
            // A wall clock may be set back.
            end: snapshot.time.max(start),
            queries: 0,
            latency: [0; BANDS],
            lost: BTreeMap::new(),
            near_misses: BTreeMap::new(),
        };
        for counts in clients {
            slice.queries += counts.queries;
            for (sum, more) in slice.latency.iter_mut().zip(counts.latency_bands) {
                *sum += more;
            }
        }
        self.add(slice);
        let last_end = self.done.last().map(|last| last.end);
        let (now, later): (Vec<_>, Vec<_>) =
            self.waiting.drain(..).partition(|sighting| Some(sighting.sent) < last_end);
        self.waiting = later;
        now.into_iter().for_each(|sighting| self.put(sighting));
    }

    fn add(&mut self, slice: Slice) {
        if let Some(last) = self.done.last_mut()
            && self.in_last < self.windows
        {
            last.absorb(slice);
            self.in_last += 1;
            return;
        }
        if self.done.len() == MAX {
            let mut halves = std::mem::take(&mut self.done).into_iter();
            while let Some(mut first) = halves.next() {
                halves.next().into_iter().for_each(|second| first.absorb(second));
                self.done.push(first);
            }
            self.windows *= 2;
        }
        self.windows = self.windows.max(1);
        self.in_last = 1;
        self.done.push(slice);
    }

    /// Counts a query in the slice it was sent in; before the first and behind
    /// the last, in these.
    fn put(&mut self, sighting: Sighting) {
        let after = self.done.partition_point(|slice| slice.end <= sighting.sent);
        let last = self.done.len().saturating_sub(1);
        if let Some(slice) = self.done.get_mut(after.min(last)) {
            slice.count(sighting);
        }
    }

    pub(super) fn finish(mut self) -> Vec<Slice> {
        for sighting in std::mem::take(&mut self.waiting) {
            self.put(sighting);
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::{clash, near_miss, snapshot};

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_unix_ns(1_000_000_000_000 + ms * 1_000_000)
    }

    /// Windows of one second, each with its number of queries.
    fn windows(slices: &mut Slices, queries: impl IntoIterator<Item = u64>) {
        for queries in queries {
            let end = slices.done.last().map_or(at(1_000), |last| {
                Timestamp::from_unix_ns(last.end.unix_ns() + 1_000_000_000)
            });
            let window = Snapshot { time: end, window_seconds: 1.0, ..snapshot() };
            let counts = Counts { queries, latency_bands: [queries; BANDS], ..Counts::default() };
            slices.window(&window, std::iter::once(&counts));
        }
    }

    fn lost_at(ms: u64) -> Verdict {
        let mut verdict = clash();
        verdict.query.sent = at(ms);
        verdict
    }

    #[test]
    fn a_lost_query_counts_where_it_was_sent_not_where_it_was_decided() {
        let mut slices = Slices::default();
        windows(&mut slices, [10, 20]);
        slices.verdict(&lost_at(500));
        slices.verdict(&lost_at(2_100));
        windows(&mut slices, [30]);
        // Earlier and later than anything watched.
        slices.verdict(&lost_at(0));
        slices.verdict(&lost_at(99_000));
        let mut missed = near_miss();
        missed.query.sent = at(1_500);
        slices.verdict(&missed);
        let slices = slices.finish();
        let lost: Vec<u64> = slices.iter().map(|slice| slice.lost.values().sum()).collect();
        assert_eq!(lost, [2, 0, 2]);
        let near: Vec<u64> = slices.iter().map(|slice| slice.near_misses.values().sum()).collect();
        assert_eq!(near, [0, 1, 0]);
        assert_eq!(slices[2].queries_per_second(), 30.0);
        assert_eq!(slices[0].start, at(0));
    }

    #[test]
    fn a_long_time_has_few_slices_and_nothing_is_lost_of_it() {
        let mut slices = Slices::default();
        windows(&mut slices, (0..3_601).map(|_| 2));
        slices.verdict(&lost_at(1_000));
        let slices = slices.finish();
        assert!((MAX / 2..=MAX).contains(&slices.len()), "{}", slices.len());
        assert_eq!(slices.iter().map(|slice| slice.queries).sum::<u64>(), 7_202);
        assert_eq!(slices.iter().map(|slice| slice.latency[3]).sum::<u64>(), 7_202);
        assert_eq!(slices[0].lost.values().sum::<u64>(), 1);
        assert!(slices.windows(2).all(|two| two[0].end == two[1].start));
        assert_eq!(slices[0].seconds(), 16.0);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_negative_slice() {
        let mut slices = Slices::default();
        windows(&mut slices, [1, 1]);
        let back = Snapshot { time: at(0), window_seconds: 1.0, ..snapshot() };
        slices.window(&back, std::iter::empty());
        let slices = slices.finish();
        assert_eq!((slices[2].seconds(), slices[2].queries_per_second()), (0.0, 0.0));
    }
}
