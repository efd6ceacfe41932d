//! Latency distributions in the few wide buckets that metrics systems want.

use dnsprobe_common::histogram::upper_bound_ns;

use super::Exponential;

/// Upper bounds of the buckets, seconds: those that OpenTelemetry advises for
/// `dns.lookup.duration` (5 ms to 10 s), finer ones below for servers on the node,
/// and two above for resolvers' timeouts. One more bucket has no bound.
pub const BOUNDS_SECONDS: [f64; 21] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5,
    0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 30.0,
];

/// How many values lie in each bucket.
///
/// The kernel's buckets are at most 3.1 % wide and do not end at these bounds: the
/// values of one that lies across a bound are counted above it, so no answer is ever
/// called faster than it was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Values between the bound before and this one; the last: above all bounds.
    pub counts: [u64; BOUNDS_SECONDS.len() + 1],
    /// The same values in exponential buckets.
    pub exponential: Exponential,
    /// Sum of all values, seconds.
    pub sum_seconds: f64,
}

impl Buckets {
    /// Puts in the values of one of the kernel's buckets.
    pub(super) fn add(&mut self, bucket: usize, count: u64) {
        let highest = upper_bound_ns(bucket) as f64 / 1e9;
        let place = BOUNDS_SECONDS.partition_point(|bound| *bound < highest);
        self.counts[place] += count;
        self.exponential.add(bucket, count);
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds another distribution.
    pub fn merge(&mut self, other: &Self) {
        for (own, other) in self.counts.iter_mut().zip(other.counts) {
            *own += other;
        }
        self.exponential.merge(&other.exponential);
        self.sum_seconds += other.sum_seconds;
    }

    /// What came on top of an earlier state of the same distribution; nothing where
    /// values were taken back.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts;
        for (own, before) in counts.iter_mut().zip(earlier.counts) {
            *own = own.saturating_sub(before);
        }
        let exponential = self.exponential.since(&earlier.exponential);
        let sum_seconds = (self.sum_seconds - earlier.sum_seconds).max(0.0);
        Self { counts, exponential, sum_seconds }
    }
}

#[cfg(test)]
mod tests {
    use dnsprobe_common::histogram::{BUCKETS, bucket};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bounds_hold_those_of_opentelemetry() {
        let advised =
            [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
        assert!(advised.iter().all(|bound| BOUNDS_SECONDS.contains(bound)));
        assert!(BOUNDS_SECONDS.is_sorted());
    }

    #[test]
    fn what_is_beyond_the_kernels_range_is_in_the_last_bucket() {
        let mut buckets = Buckets::default();
        buckets.add(BUCKETS - 1, 2);
        assert_eq!(buckets.counts[BOUNDS_SECONDS.len()], 2);
    }

    #[test]
    fn a_difference_never_goes_below_nothing() {
        let (mut before, mut now) = (Buckets::default(), Buckets::default());
        before.add(bucket(1_000_000), 5);
        now.add(bucket(1_000_000), 3);
        now.add(bucket(9_000_000), 3);
        assert_eq!(now.since(&before).count(), 3);
        before.merge(&now);
        assert_eq!(before.count(), 11);
    }

    proptest! {
        #[test]
        fn no_value_is_called_faster_than_it_was(ns in 0_u64..100_000_000_000) {
            let mut buckets = Buckets::default();
            buckets.add(bucket(ns), 1);
            let place = buckets.counts.iter().position(|count| *count == 1).unwrap();
            let seconds = ns as f64 / 1e9;
            if let Some(bound) = BOUNDS_SECONDS.get(place) {
                prop_assert!(seconds <= *bound);
            }
            // At most a kernel bucket too high.
            if place > 0 && place < BOUNDS_SECONDS.len() {
                prop_assert!(seconds * 1.032 >= BOUNDS_SECONDS[place - 1]);
            }
        }
    }
}
