//! One running sum of everything that is counted about an owner or server.

use std::collections::BTreeMap;

use dnsprobe_common::{dns::RCODES, stats::Stats};

use super::{
    Counts,
    latency::{Distribution, LatencyGrowth},
};
use crate::{dns::rcode_name, engine::Cause};

/// Signed where the kernel may take an answer back.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) queries: i64,
    answered: i64,
    pub(super) not_followed: i64,
    rcodes: [i64; RCODES],
    pub(super) latency: Distribution,
    pub(super) read_delay: Distribution,
    pub(super) lost: BTreeMap<Cause, u64>,
    pub(super) near_misses: BTreeMap<Cause, u64>,
}

/// What happened between two readings of one kernel aggregate.
#[derive(Debug)]
pub(super) struct Growth {
    queries: i64,
    answered: i64,
    not_followed: i64,
    rcodes: [i64; RCODES],
    latency: LatencyGrowth,
    read_delay: LatencyGrowth,
}

impl Growth {
    /// `before` is `None` for an aggregate that is new since.
    pub(super) fn between(now: &Stats, before: Option<&Stats>) -> Self {
        let grown = |field: fn(&Stats) -> u64| {
            field(now).wrapping_sub(before.map_or(0, field)).cast_signed()
        };
        let rcode = |code: usize| {
            let earlier = before.map_or(0, |before| before.rcodes[code]);
            now.rcodes[code].wrapping_sub(earlier).cast_signed()
        };
        Self {
            queries: grown(|stats| stats.queries),
            answered: grown(|stats| stats.answered),
            not_followed: grown(|stats| stats.not_followed),
            rcodes: std::array::from_fn(rcode),
            latency: LatencyGrowth::between(&now.latency, before.map(|before| &before.latency)),
            read_delay: LatencyGrowth::between(
                &now.read_delay,
                before.map(|before| &before.read_delay),
            ),
        }
    }
}

impl Tally {
    /// Adds what happened between two readings.
    pub(super) fn add(&mut self, growth: &Growth) {
        self.queries += growth.queries;
        self.answered += growth.answered;
        self.not_followed += growth.not_followed;
        for (sum, grown) in self.rcodes.iter_mut().zip(growth.rcodes) {
            *sum += grown;
        }
        self.latency.add(&growth.latency);
        self.read_delay.add(&growth.read_delay);
    }

    /// Queries that are neither answered nor decided, of all that came: what
    /// the conservation law leaves. At rest it must be zero.
    pub(super) fn in_flight(&self) -> u64 {
        let lost: u64 = self.lost.values().sum();
        unsigned(self.queries - self.answered - self.not_followed - lost.cast_signed())
    }

    /// The sums as they are shown. `seconds` is the time they cover,
    /// `carried_in` the queries that were in flight at its start.
    pub(super) fn counts(&self, seconds: f64, in_flight: u64, carried_in: u64) -> Counts {
        let queries = unsigned(self.queries);
        // One by one: `collect` sorts first, which takes longer than the few there are.
        let mut rcodes = BTreeMap::new();
        for (code, count) in (0_u8..).zip(self.rcodes).filter(|(_, count)| *count > 0) {
            rcodes.insert(rcode_name(code), unsigned(count));
        }
        Counts {
            queries,
            answered: unsigned(self.answered),
            lost: self.lost.clone(),
            lost_total: self.lost.values().sum(),
            near_misses: self.near_misses.clone(),
            in_flight,
            not_followed: unsigned(self.not_followed),
            queries_per_second: if seconds > 0.0 { queries as f64 / seconds } else { 0.0 },
            rcodes,
            latency_bands: self.latency.bands(),
            latency_seconds: self.latency.summary(),
            read_delay_seconds: self.read_delay.summary(),
            carried_in,
        }
    }
}

/// A window in which more was taken back than happened shows zero.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
