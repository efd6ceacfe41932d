//! Latency distributions: differences of the kernel's bucket counts, added up,
//! and the few numbers people read from them.

use dnsprobe_common::{
    histogram::{BUCKETS, bucket, lower_bound_ns, upper_bound_ns},
    stats::Latency,
};
use serde::Serialize;

use super::Buckets;

/// A distribution in seconds. Percentiles are at most 1.6 % from the exact
/// value between 8.2 µs and 68.7 s; count and mean are exact.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatencySummary {
    /// Number of values.
    pub count: u64,
    /// Median, seconds.
    pub p50: f64,
    /// 95th percentile, seconds.
    pub p95: f64,
    /// 99th percentile, seconds.
    pub p99: f64,
    /// Largest value, seconds.
    pub max: f64,
    /// Mean, seconds.
    pub mean: f64,
}

/// Upper bounds of all latency bands but the last, nanoseconds.
const BAND_BOUNDS_NS: [u64; BANDS - 1] =
    [100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 5_000_000_000];

/// How many latency bands there are.
pub const BANDS: usize = 7;

/// What each latency band holds, shortest first. A bound is met to within the
/// width of a bucket, 3.1 %.
pub const BAND_NAMES: [&str; BANDS] =
    ["< 0.1 ms", "< 1 ms", "< 10 ms", "< 100 ms", "< 1 s", "< 5 s", ">= 5 s"];

/// The band of a latency.
#[must_use]
pub fn band(ns: u64) -> usize {
    BAND_BOUNDS_NS.iter().take_while(|bound| ns >= **bound).count()
}

/// How much of all values lies in a band, for heat maps: 0 none, then up to 10 %,
/// 50 %, 90 %, and more.
#[must_use]
pub fn shade(bands: &[u64; BANDS], band: usize) -> usize {
    const LIMITS_PERCENT: [u64; 3] = [10, 50, 90];
    let total: u64 = bands.iter().sum();
    match (bands[band], (bands[band] * 100).checked_div(total)) {
        (0, _) | (_, None) => 0,
        (_, Some(percent)) => 1 + LIMITS_PERCENT.iter().filter(|&&limit| percent >= limit).count(),
    }
}

/// Bucket counts added up over readings. Sparse: one pod's latencies fill few
/// buckets. Signed: an answer counted in one reading may be taken back in the
/// next.
#[derive(Clone, Debug, Default)]
pub(super) struct Distribution {
    /// By bucket, lowest first.
    counts: Vec<(usize, i64)>,
    sum_ns: i64,
    max_ns: u64,
}

/// What happened between two readings of one kernel histogram, whose counts may
/// have wrapped meanwhile.
#[derive(Debug)]
pub(super) struct LatencyGrowth {
    counts: Vec<(usize, i64)>,
    sum_ns: i64,
    max_ns: u64,
}

impl LatencyGrowth {
    /// `before` is `None` for a histogram that is new since.
    pub(super) fn between(now: &Latency, before: Option<&Latency>) -> Self {
        /// Compared at once: most buckets do not change.
        const TOGETHER: usize = 16;
        let mut counts = Vec::new();
        let first = before.map_or(&[0; BUCKETS], |before| &before.buckets);
        let together = now.buckets.chunks(TOGETHER).zip(first.chunks(TOGETHER));
        for (start, (now, then)) in (0..).step_by(TOGETHER).zip(together) {
            if now == then {
                continue;
            }
            for (index, (now, then)) in (start..).zip(now.iter().zip(then)) {
                let grown = match before {
                    // A step back shows as a huge unsigned difference.
                    Some(_) => i64::from(now.wrapping_sub(*then).cast_signed()),
                    None => i64::from(*now),
                };
                if grown != 0 {
                    counts.push((index, grown));
                }
            }
        }
        let earlier = before.map_or(0, |before| before.sum_ns);
        Self { counts, sum_ns: now.sum_ns.wrapping_sub(earlier).cast_signed(), max_ns: now.max_ns }
    }
}

impl Distribution {
    /// Adds what happened between two readings.
    pub(super) fn add(&mut self, growth: &LatencyGrowth) {
        for &(index, grown) in &growth.counts {
            match self.counts.binary_search_by_key(&index, |(index, _)| *index) {
                Ok(at) => self.counts[at].1 += grown,
                Err(at) => self.counts.insert(at, (index, grown)),
            }
        }
        self.sum_ns = self.sum_ns.saturating_add(growth.sum_ns);
        self.max_ns = self.max_ns.max(growth.max_ns);
    }

    /// How many values each latency band holds.
    pub(super) fn bands(&self) -> [u64; BANDS] {
        let mut bands = [0; BANDS];
        for &(index, count) in &self.counts {
            bands[band(lower_bound_ns(index))] += u64::try_from(count).unwrap_or(0);
        }
        bands
    }

    /// The numbers; `None` when there are no values.
    pub(super) fn summary(&self) -> Option<LatencySummary> {
        let filled = || {
            let counts = self.counts.iter();
            counts
                .filter(|(_, count)| *count > 0)
                .map(|(index, count)| (*index, count.cast_unsigned()))
        };
        let (mut count, mut highest) = (0, None);
        for (index, in_bucket) in filled() {
            count += in_bucket;
            highest = Some(index);
        }
        let max_ns = self.max_in(highest?);
        let [p50, p95, p99] = percentiles_ns(filled(), count, [50, 95, 99]);
        let capped = |ns: u64| seconds(ns.min(max_ns));
        Some(LatencySummary {
            count,
            p50: capped(p50),
            p95: capped(p95),
            p99: capped(p99),
            max: seconds(max_ns),
            mean: self.sum_ns.max(0) as f64 / 1e9 / count as f64,
        })
    }

    /// The same in the buckets of metrics systems.
    pub(super) fn buckets(&self) -> Buckets {
        let mut buckets =
            Buckets { sum_seconds: self.sum_ns.max(0) as f64 / 1e9, ..Buckets::default() };
        for &(index, count) in self.counts.iter().filter(|(_, count)| *count > 0) {
            buckets.add(index, count.cast_unsigned());
        }
        buckets
    }

    /// The largest value, given the highest bucket that holds one: the
    /// kernel's record if it is of that bucket, else the bucket's bound (the
    /// record may be of an earlier window, or lost in a race).
    fn max_in(&self, highest: usize) -> u64 {
        if bucket(self.max_ns) == highest {
            self.max_ns
        } else if highest == BUCKETS - 1 {
            lower_bound_ns(highest)
        } else {
            upper_bound_ns(highest)
        }
    }
}

/// The values below or at which so many percent of all lie (nearest rank), rising,
/// each as the middle of its bucket: the one point that is near every value in it.
fn percentiles_ns<const N: usize>(
    filled: impl Iterator<Item = (usize, u64)>,
    count: u64,
    percents: [u64; N],
) -> [u64; N] {
    // Hundreds apart from the rest, so that no product is too large.
    let rank = |percent: u64| count / 100 * percent + (count % 100 * percent).div_ceil(100);
    let ranks = percents.map(rank);
    let mut values = [0; N];
    let (mut seen, mut next) = (0, 0);
    for (index, in_bucket) in filled {
        seen += in_bucket;
        while next < N && seen >= ranks[next] {
            let lower = lower_bound_ns(index);
            // The last bucket has no middle; the caller caps at the maximum.
            values[next] = lower.midpoint(upper_bound_ns(index));
            next += 1;
        }
        if next == N {
            break;
        }
    }
    values
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::testing::{EMPTY_LATENCY, latency};

    fn summary(values_ns: &[u64]) -> LatencySummary {
        let mut distribution = Distribution::default();
        distribution.add(&LatencyGrowth::between(&latency(values_ns), None));
        distribution.summary().unwrap()
    }

    fn exact(sorted: &[u64], percent: usize) -> f64 {
        sorted[(sorted.len() * percent).div_ceil(100) - 1] as f64 / 1e9
    }

    #[test]
    fn nothing_has_no_summary() {
        assert_eq!(Distribution::default().summary(), None);
        let mut distribution = Distribution::default();
        distribution.add(&LatencyGrowth::between(&EMPTY_LATENCY, None));
        assert_eq!(distribution.summary(), None);
    }

    #[test]
    fn bands_hold_every_value_once() {
        let mut distribution = Distribution::default();
        let values = [0, 50_000, 500_000, 5_000_000, 50_000_000, 500_000_000, 6_000_000_000];
        distribution.add(&LatencyGrowth::between(&latency(&values), None));
        assert_eq!(distribution.bands(), [2, 1, 1, 1, 1, 0, 1]);
        assert_eq!((band(0), band(99_999), band(100_000), band(u64::MAX)), (0, 0, 1, BANDS - 1));
    }

    #[test]
    fn a_shade_is_a_share_and_little_is_never_nothing() {
        assert_eq!(shade(&[0; BANDS], 0), 0);
        let bands = [1_000, 1, 0, 0, 0, 0, 300];
        assert_eq!([0, 1, 2, 6].map(|band| shade(&bands, band)), [3, 1, 0, 2]);
        assert_eq!(shade(&[5, 0, 0, 0, 0, 0, 0], 0), 4);
    }

    #[test]
    fn one_value_is_its_own_maximum_and_mean() {
        let one = summary(&[20_000_000]);
        assert_eq!((one.count, one.max, one.mean), (1, 0.020, 0.020));
        assert!(one.p50 <= one.max);
    }

    #[test]
    fn values_beyond_the_range_are_kept_by_their_maximum() {
        let long = summary(&[90_000_000_000]);
        assert_eq!((long.p50, long.max), (90.0, 90.0));
        assert_eq!(summary(&[0, 0, 5]).max, 5e-9);
    }

    #[test]
    fn a_lost_or_older_maximum_gives_the_buckets_bound() {
        let mut reading = latency(&[20_000_000]);
        reading.max_ns = 1_000;
        let mut distribution = Distribution::default();
        distribution.add(&LatencyGrowth::between(&reading, None));
        let max = distribution.summary().unwrap().max;
        assert!((0.020..0.0213).contains(&max), "{max}");
    }

    #[test]
    fn wrapped_counts_and_answers_taken_back_are_differences() {
        let index = bucket(20_000_000);
        let mut before = EMPTY_LATENCY;
        before.buckets[index] = u32::MAX - 1;
        let mut now = before;
        now.buckets[index] = 3;
        now.sum_ns = 5 * 20_000_000;
        let mut distribution = Distribution::default();
        distribution.add(&LatencyGrowth::between(&now, Some(&before)));
        assert_eq!(distribution.summary().unwrap().count, 5);
        let mut back = now;
        back.buckets[index] -= 1;
        back.sum_ns -= 20_000_000;
        distribution.add(&LatencyGrowth::between(&back, Some(&now)));
        let summary = distribution.summary().unwrap();
        assert_eq!((summary.count, summary.mean), (4, 0.020));
    }

    proptest! {
        #[test]
        fn percentiles_are_within_3_2_percent_of_exact(
            mut values in prop::collection::vec(
                (13_u32..36, any::<u64>()).prop_map(|(bits, low)| (1 << bits) | (low & ((1 << bits) - 1))),
                1..500,
            )
        ) {
            let got = summary(&values);
            values.sort_unstable();
            for (estimate, percent) in [(got.p50, 50), (got.p95, 95), (got.p99, 99), (got.max, 100)] {
                let exact = exact(&values, percent);
                prop_assert!((estimate - exact).abs() / exact <= 0.032, "p{percent}: {estimate} for {exact}");
            }
            prop_assert!(got.p50 <= got.p95 && got.p95 <= got.p99 && got.p99 <= got.max);
            prop_assert_eq!(got.count, values.len() as u64);
        }

        #[test]
        fn any_two_readings_have_a_difference(
            a in any::<u32>(), b in any::<u32>(), index in 0..BUCKETS, sums in any::<(u64, u64)>(),
            max in any::<u64>(),
        ) {
            let (mut before, mut now) = (EMPTY_LATENCY, EMPTY_LATENCY);
            (before.buckets[index], now.buckets[index]) = (a, b);
            (before.sum_ns, now.sum_ns, now.max_ns) = (sums.0, sums.1, max);
            let mut distribution = Distribution::default();
            distribution.add(&LatencyGrowth::between(&now, Some(&before)));
            distribution.add(&LatencyGrowth::between(&before, Some(&now)));
            distribution.add(&LatencyGrowth::between(&now, None));
            let _ = distribution.summary();
        }
    }
}
