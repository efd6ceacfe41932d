//! Latency distributions in exponential buckets: eight to each power of two of
//! seconds, as Prometheus' native histograms have them with schema 3.

use dnsprobe_common::histogram::upper_bound_ns;

/// Buckets to each power of two, as a power of two: what Prometheus calls the schema.
pub const SCHEMA: i32 = 3;

/// How many values lie in each bucket that is not empty, lowest first. Bucket `n` ends
/// at 2^(n/8) seconds, that bound included, and begins where the one before ends: it is
/// 9.1 % wide.
///
/// The kernel's buckets are narrower; the values of one that lies across a bound are
/// counted above it, so no answer is ever called faster than it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exponential(Vec<(i16, u64)>);

impl Exponential {
    /// Puts in the values of one of the kernel's buckets.
    pub(super) fn add(&mut self, bucket: usize, count: u64) {
        self.add_to(place(bucket), count);
    }

    fn add_to(&mut self, place: i16, count: u64) {
        match self.0.binary_search_by_key(&place, |(place, _)| *place) {
            Ok(at) => self.0[at].1 += count,
            Err(at) => self.0.insert(at, (place, count)),
        }
    }

    /// The buckets that are not empty, lowest first: number and values.
    pub fn filled(&self) -> impl Iterator<Item = (i32, u64)> {
        self.0.iter().map(|(place, count)| (i32::from(*place), *count))
    }

    /// Adds another distribution.
    pub(super) fn merge(&mut self, other: &Self) {
        for (place, count) in &other.0 {
            self.add_to(*place, *count);
        }
    }

    /// What came on top of an earlier state of the same distribution; nothing where
    /// values were taken back.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let before = |place: i16| {
            let at = earlier.0.binary_search_by_key(&place, |(place, _)| *place);
            at.map_or(0, |at| earlier.0[at].1)
        };
        let more =
            self.0.iter().map(|(place, count)| (*place, count.saturating_sub(before(*place))));
        Self(more.filter(|(_, count)| *count > 0).collect())
    }
}

/// The bucket that holds the highest value of one of the kernel's.
fn place(bucket: usize) -> i16 {
    // What is above the kernel's range has no upper bound.
    let highest_ns = match upper_bound_ns(bucket) {
        u64::MAX => upper_bound_ns(bucket - 1) + 1,
        bound => bound,
    };
    let eighths = (highest_ns as f64 / 1e9).log2() * f64::from(1 << SCHEMA);
    // Some hundred at most, whichever way.
    eighths.ceil() as i16
}

#[cfg(test)]
mod tests {
    use dnsprobe_common::histogram::{BUCKETS, bucket, lower_bound_ns};
    use proptest::prelude::*;

    use super::*;

    fn end_seconds(place: i32) -> f64 {
        2_f64.powf(f64::from(place) / 8.0)
    }

    fn of(values_ns: &[u64]) -> Exponential {
        let mut all = Exponential::default();
        values_ns.iter().for_each(|value| all.add(bucket(*value), 1));
        all
    }

    #[test]
    fn bounds_are_powers_of_two_of_seconds() {
        // Half a second ends a bucket, a second the one that is eight further.
        let all = of(&[490_000_000, 980_000_000]);
        assert_eq!(all.filled().collect::<Vec<_>>(), [(-8, 1), (0, 1)]);
        let beyond = of(&[u64::MAX]);
        let (place, _) = beyond.filled().next().unwrap();
        assert!(end_seconds(place - 1) >= lower_bound_ns(BUCKETS - 1) as f64 / 1e9 / 1.1);
    }

    proptest! {
        #[test]
        fn every_value_is_in_its_bucket_or_barely_below_it(value in 8_192_u64..60_000_000_000) {
            let all = of(&[value]);
            let (place, count) = all.filled().next().unwrap();
            prop_assert_eq!(count, 1);
            let seconds = value as f64 / 1e9;
            prop_assert!(seconds <= end_seconds(place) * 1.000_001);
            prop_assert!(seconds * 1.033 > end_seconds(place - 1));
        }

        #[test]
        fn what_was_added_is_what_came_since(
            before in proptest::collection::vec(any::<u64>(), 0..30),
            more in proptest::collection::vec(any::<u64>(), 0..30),
        ) {
            let (earlier, added) = (of(&before), of(&more));
            let mut now = earlier.clone();
            now.merge(&added);
            prop_assert_eq!(now.filled().map(|(_, count)| count).sum::<u64>() as usize,
                before.len() + more.len());
            prop_assert_eq!(now.since(&earlier), added);
        }
    }
}
