//! When something happens: the pattern of its timeline against that of the
//! load, which are the queries of the same pods.
//!
//! The time watched is cut into at most 32 bins of equal length; a bin with a
//! query in it is active. The first that fits is the pattern:
//!
//! 1. `scaling-window`: every occurrence lies between the moment a backend went
//!    away and the end of the IPVS UDP timeout after it, and there had been
//!    queries without an occurrence before that moment.
//! 2. `always`: at least 2 occurrences, as many as 90 % of the queries or more;
//!    or occurrences in 90 % of the active bins, of which there are 5 or more.
//! 3. `peak`: at least 5 occurrences, 80 % of them in busy bins, which are those
//!    with at least twice the median of the active bins' queries; and by chance
//!    (if each query were as likely to be hit) that would happen once in a
//!    hundred times at most. There are 5 active bins or more.
//! 4. `frequent`: at least 3 occurrences, in 25 % of the active bins or more.
//! 5. `sporadic`: everything else.

use serde::{Serialize, Serializer};

use super::{significance::at_least_by_chance, timeline::Timeline};

/// Most bins looked at.
const BINS: u64 = 32;
/// Share of queries, or of active bins, that makes `always`.
const ALWAYS_SHARE: f64 = 0.9;
/// Fewest active bins that tell of when.
const ENOUGH_BINS: usize = 5;
/// Share of occurrences that fall into busy bins.
const PEAK_SHARE: f64 = 0.8;
/// Fewest occurrences that make a peak.
const PEAK_COUNT: u64 = 5;
/// Queries of a busy bin, in medians.
const BUSY: f64 = 2.0;
/// How likely a peak may be by chance.
const PEAK_CHANCE: f64 = 0.01;
/// Share of active bins that makes `frequent`.
const FREQUENT_SHARE: f64 = 0.25;
/// Fewest occurrences that make `frequent`.
const FREQUENT_COUNT: u64 = 3;

/// When something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// With nearly every query, or all the time.
    Always,
    /// While there are many queries.
    Peak,
    /// Again and again.
    Frequent,
    /// Now and then, or once.
    Sporadic,
    /// After a backend went away, until the IPVS UDP timeout is over.
    ScalingWindow,
}

impl Pattern {
    /// Every pattern.
    pub const ALL: [Self; 5] =
        [Self::Always, Self::Peak, Self::Frequent, Self::Sporadic, Self::ScalingWindow];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Peak => "peak",
            Self::Frequent => "frequent",
            Self::Sporadic => "sporadic",
            Self::ScalingWindow => "scaling-window",
        }
    }

    /// When it is this pattern.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Always => "With at least 90 % of the queries, or all the time.",
            Self::Peak => "While there are at least twice as many queries as usual.",
            Self::Frequent => "In at least a quarter of the time in which there are queries.",
            Self::Sporadic => "Now and then, or too seldom to tell.",
            Self::ScalingWindow => {
                "Only after a backend went away, and no longer than the IPVS UDP timeout."
            }
        }
    }

    /// The pattern of `events` against the `load` of queries that could have
    /// been hit. `departures_ns`: when backends went away; `timeout_ns`: the
    /// IPVS UDP timeout.
    #[must_use]
    pub fn of(events: &Timeline, load: &Timeline, departures_ns: &[u64], timeout_ns: u64) -> Self {
        let in_window = |departure: &u64| is_scaling_window(events, load, *departure, timeout_ns);
        if departures_ns.iter().any(in_window) {
            return Self::ScalingWindow;
        }
        let bins: Vec<(u64, u64)> = events.beside(load, BINS);
        let (count, queries) = (events.total(), load.total());
        let active = bins.len();
        let hit = bins.iter().filter(|(events, _)| *events > 0).count();
        let hit_share = if active == 0 { 0.0 } else { hit as f64 / active as f64 };
        let nearly_every = count >= 2 && count as f64 >= ALWAYS_SHARE * queries as f64;
        if nearly_every || (active >= ENOUGH_BINS && hit_share >= ALWAYS_SHARE) {
            Self::Always
        } else if is_peak(&bins) {
            Self::Peak
        } else if count >= FREQUENT_COUNT && hit_share >= FREQUENT_SHARE {
            Self::Frequent
        } else {
            Self::Sporadic
        }
    }
}

fn is_scaling_window(
    events: &Timeline,
    load: &Timeline,
    departure_ns: u64,
    timeout_ns: u64,
) -> bool {
    let (Some((first, last)), Some((begin, _))) = (events.span_ns(), load.span_ns()) else {
        return false;
    };
    begin < departure_ns && first >= departure_ns && last <= departure_ns.saturating_add(timeout_ns)
}

/// Bins as (occurrences, queries).
fn is_peak(bins: &[(u64, u64)]) -> bool {
    let count: u64 = bins.iter().map(|(events, _)| events).sum();
    let queries: u64 = bins.iter().map(|(_, load)| load).sum();
    if bins.len() < ENOUGH_BINS || count < PEAK_COUNT || queries == 0 {
        return false;
    }
    let mut loads: Vec<u64> = bins.iter().map(|(_, load)| *load).collect();
    loads.sort_unstable();
    let median = loads[loads.len() / 2] as f64;
    let busy = bins.iter().filter(|(_, load)| *load as f64 >= BUSY * median);
    let (busy_events, busy_load) =
        busy.fold((0, 0), |sum, (events, load)| (sum.0 + events, sum.1 + load));
    busy_events as f64 >= PEAK_SHARE * count as f64
        && at_least_by_chance(busy_events, count, busy_load as f64 / queries as f64) <= PEAK_CHANCE
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const TIMEOUT: u64 = 300 * SECOND;

    /// So many things in each second.
    fn per_second(counts: &[u64]) -> Timeline {
        let mut line = Timeline::default();
        for (second, &count) in (1000..).zip(counts) {
            for index in 0..count {
                line.add(second * SECOND + index * SECOND / count);
            }
        }
        line
    }

    fn pattern(events: &[u64], load: &[u64]) -> Pattern {
        Pattern::of(&per_second(events), &per_second(load), &[], TIMEOUT)
    }

    #[test]
    fn every_query_is_always_and_so_is_every_second() {
        assert_eq!(pattern(&[2, 2], &[2, 2]), Pattern::Always);
        assert_eq!(pattern(&[1; 20], &[100; 20]), Pattern::Always);
        assert_eq!(pattern(&[1], &[1]), Pattern::Sporadic);
    }

    #[test]
    fn what_comes_with_the_load_is_a_peak() {
        let mut load = [10; 20];
        let mut events = [0; 20];
        (load[7], load[8]) = (200, 200);
        (events[7], events[8]) = (9, 8);
        assert_eq!(pattern(&events, &load), Pattern::Peak);
    }

    #[test]
    fn what_is_as_likely_for_every_query_is_no_peak() {
        let load = [20, 20, 20, 20, 20, 20, 20, 20, 200, 20];
        let events = [2, 2, 2, 0, 2, 2, 2, 0, 20, 2];
        assert_eq!(pattern(&events, &load), Pattern::Frequent);
    }

    #[test]
    fn seldom_is_sporadic() {
        let mut events = [0; 30];
        events[12] = 3;
        assert_eq!(pattern(&events, &[10; 30]), Pattern::Sporadic);
        assert_eq!(pattern(&[], &[10; 30]), Pattern::Sporadic);
    }

    #[test]
    fn only_between_a_departure_and_the_timeout_is_a_scaling_window() {
        let load = per_second(&[10; 30]);
        let mut counts = [0; 30];
        counts[12..20].fill(1);
        let events = per_second(&counts);
        let of = |departure: u64, timeout: u64| {
            Pattern::of(&events, &load, &[departure * SECOND], timeout * SECOND)
        };
        assert_eq!(of(1011, 300), Pattern::ScalingWindow);
        assert_eq!(of(1011, 5), Pattern::Frequent);
        assert_eq!(of(1013, 300), Pattern::Frequent);
        // Nothing is known of the time before.
        assert_eq!(of(999, 300), Pattern::Frequent);
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::HashSet<_> = Pattern::ALL.iter().map(|p| p.as_str()).collect();
        assert_eq!(names.len(), Pattern::ALL.len());
    }

    proptest! {
        #[test]
        fn if_every_query_is_hit_the_pattern_is_always(
            load in prop::collection::vec(1_u64..20, 2..60)
        ) {
            prop_assert_eq!(pattern(&load, &load), Pattern::Always);
        }

        #[test]
        fn without_a_departure_there_is_no_scaling_window_and_one_hit_is_sporadic(
            load in prop::collection::vec(0_u64..20, 1..60), at in any::<prop::sample::Index>()
        ) {
            let mut events = vec![0; load.len()];
            events[at.index(load.len())] = 1;
            let mut load = load;
            load[0] += 2;
            load[at.index(events.len())] += 1;
            let found = pattern(&events, &load);
            prop_assert!(matches!(found, Pattern::Sporadic | Pattern::Always));
        }

        #[test]
        fn a_steady_load_has_no_peak(
            events in prop::collection::vec(0_u64..5, 6..60), rate in 10_u64..30
        ) {
            let load = vec![rate; events.len()];
            prop_assert_ne!(pattern(&events, &load), Pattern::Peak);
        }

        #[test]
        fn a_departure_before_all_hits_and_after_the_first_query_explains_them(
            hits in prop::collection::vec(0_u64..5, 1..50)
        ) {
            let hits: Vec<u64> = [0, 0].into_iter().chain(hits).chain([1]).collect();
            let load: Vec<u64> = hits.iter().map(|hits| hits + 10).collect();
            let found =
                Pattern::of(&per_second(&hits), &per_second(&load), &[1001 * SECOND], TIMEOUT);
            prop_assert_eq!(found, Pattern::ScalingWindow);
        }
    }
}
