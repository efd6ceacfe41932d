//! How often something happened when, in a bounded number of bins.

use std::collections::BTreeMap;

/// Most bins kept; beyond that they become twice as wide.
const MAX_BINS: u64 = 128;
/// Width of the first bins, nanoseconds.
const FIRST_WIDTH_NS: u64 = 250_000_000;

/// Counts per bin of time. Bins start at multiples of their width, so that
/// those of two timelines lie on each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// How often the first width was doubled.
    doublings: u32,
    bins: BTreeMap<u64, u64>,
    first_ns: u64,
    last_ns: u64,
}

impl Timeline {
    /// Adds one occurrence at a moment, in nanoseconds.
    pub fn add(&mut self, at_ns: u64) {
        self.add_many(at_ns, 1);
    }

    /// Adds so many at a moment.
    pub fn add_many(&mut self, at_ns: u64, count: u64) {
        if count == 0 {
            return;
        }
        if self.bins.is_empty() {
            (self.first_ns, self.last_ns) = (at_ns, at_ns);
        }
        self.first_ns = self.first_ns.min(at_ns);
        self.last_ns = self.last_ns.max(at_ns);
        *self.bins.entry(at_ns / self.width_ns()).or_default() += count;
        self.coarsen(MAX_BINS);
    }

    /// Forgets the bins that ended before a moment.
    pub fn forget(&mut self, before_ns: u64) {
        self.bins = self.bins.split_off(&(before_ns / self.width_ns()));
        self.first_ns = self.first_ns.max(before_ns).min(self.last_ns);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        if other.bins.is_empty() {
            return;
        }
        if self.bins.is_empty() {
            self.clone_from(other);
            return;
        }
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
        let doublings = self.doublings.max(other.doublings);
        self.widen(doublings);
        for (bin, count) in &other.bins {
            *self.bins.entry(bin >> (doublings - other.doublings)).or_default() += count;
        }
        self.coarsen(MAX_BINS);
    }

    /// Everything that happened.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.bins.values().sum()
    }

    /// When the first thing happened, and the last; `None` when nothing did.
    #[must_use]
    pub fn span_ns(&self) -> Option<(u64, u64)> {
        (!self.bins.is_empty()).then_some((self.first_ns, self.last_ns))
    }

    /// What happened in the bins that lie between two moments as a whole.
    #[must_use]
    pub fn total_between(&self, from_ns: u64, to_ns: u64) -> u64 {
        let width = self.width_ns();
        let (from, to) = (from_ns.div_ceil(width), to_ns / width);
        if from >= to { 0 } else { self.bins.range(from..to).map(|(_, count)| count).sum() }
    }

    /// Counts of both timelines bin by bin, where either has any: of this one
    /// and of the other. There are at most `most` bins.
    #[must_use]
    pub(super) fn beside(&self, other: &Self, most: u64) -> Vec<(u64, u64)> {
        let (mut one, mut other) = (self.clone(), other.clone());
        let mut both = one.clone();
        both.merge(&other);
        both.coarsen(most);
        one.widen(both.doublings);
        other.widen(both.doublings);
        let of = |line: &Self, bin: &u64| line.bins.get(bin).copied().unwrap_or(0);
        both.bins.keys().map(|bin| (of(&one, bin), of(&other, bin))).collect()
    }

    fn width_ns(&self) -> u64 {
        FIRST_WIDTH_NS << self.doublings
    }

    fn coarsen(&mut self, most: u64) {
        while let (Some((first, _)), Some((last, _))) =
            (self.bins.first_key_value(), self.bins.last_key_value())
            && last - first >= most
        {
            self.widen(self.doublings + 1);
        }
    }

    fn widen(&mut self, doublings: u32) {
        let by = doublings.saturating_sub(self.doublings);
        if by == 0 {
            return;
        }
        self.doublings = doublings;
        let mut wider = BTreeMap::new();
        for (bin, count) in &self.bins {
            *wider.entry(bin >> by).or_default() += count;
        }
        self.bins = wider;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn timeline(times: &[u64]) -> Timeline {
        let mut line = Timeline::default();
        times.iter().for_each(|at| line.add(*at));
        line
    }

    #[test]
    fn bins_of_two_timelines_lie_on_each_other() {
        let (one, other) = (timeline(&[0, 100 * SECOND]), timeline(&[1, SECOND, 100 * SECOND]));
        assert_eq!(one.beside(&other, 4), [(1, 2), (1, 1)]);
    }

    #[test]
    fn only_whole_bins_lie_between_two_moments() {
        let line = timeline(&[0, SECOND, 2 * SECOND, 3 * SECOND]);
        assert_eq!(line.total_between(SECOND, 3 * SECOND), 2);
        assert_eq!(line.total_between(1, SECOND), 0);
        assert_eq!(line.total_between(3 * SECOND, SECOND), 0);
    }

    #[test]
    fn what_is_forgotten_is_whole_bins() {
        let mut line = timeline(&[0, SECOND, 2 * SECOND]);
        line.add_many(3 * SECOND, 4);
        line.forget(2 * SECOND);
        assert_eq!((line.total(), line.span_ns()), (5, Some((2 * SECOND, 3 * SECOND))));
        line.forget(10 * SECOND);
        assert_eq!((line.total(), line.span_ns()), (0, None));
        line.add(7 * SECOND);
        assert_eq!(line.span_ns(), Some((7 * SECOND, 7 * SECOND)));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_number_of_bins_is_bounded(
            times in prop::collection::vec(0..10_000 * SECOND, 0..300),
            others in prop::collection::vec(0..10_000 * SECOND, 0..300),
        ) {
            let mut line = timeline(&times);
            prop_assert_eq!(line.total(), times.len() as u64);
            prop_assert!(line.bins.len() as u64 <= MAX_BINS);
            prop_assert_eq!(
                line.span_ns(),
                times.iter().min().copied().zip(times.iter().max().copied())
            );
            let other = timeline(&others);
            let beside = line.beside(&other, 32);
            prop_assert!(beside.len() <= 32);
            let sums = beside.iter().fold((0, 0), |sum, bin| (sum.0 + bin.0, sum.1 + bin.1));
            prop_assert_eq!(sums, (line.total(), other.total()));
            line.merge(&other);
            prop_assert_eq!(line.total(), (times.len() + others.len()) as u64);
        }
    }
}
