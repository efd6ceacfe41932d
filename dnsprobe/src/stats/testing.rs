//! Kernel readings made by hand.

use dnsprobe_common::{
    dns::RCODES,
    histogram::{BUCKETS, bucket},
    stats::{Latency, Stats},
};

/// A histogram without values.
pub(crate) const EMPTY_LATENCY: Latency = Latency { sum_ns: 0, max_ns: 0, buckets: [0; BUCKETS] };

/// An aggregate without queries.
pub(crate) const EMPTY_STATS: Stats = Stats {
    queries: 0,
    answered: 0,
    not_followed: 0,
    rcodes: [0; RCODES],
    latency: EMPTY_LATENCY,
    read_delay: EMPTY_LATENCY,
    tgid: 0,
    pad: 0,
};

/// The histogram the kernel programs make of these values.
pub(crate) fn latency(values_ns: &[u64]) -> Latency {
    let mut latency = EMPTY_LATENCY;
    for &ns in values_ns {
        latency.sum_ns = latency.sum_ns.wrapping_add(ns);
        latency.max_ns = latency.max_ns.max(ns);
        latency.buckets[bucket(ns)] += 1;
    }
    latency
}

/// An aggregate with so many queries, of which some were answered NOERROR
/// after 20 ms.
pub(crate) fn stats(queries: u64, answered: usize) -> Stats {
    let mut stats = EMPTY_STATS;
    stats.queries = queries;
    stats.answered = answered as u64;
    stats.rcodes[0] = answered as u64;
    stats.latency = latency(&vec![20_000_000; answered]);
    stats.read_delay = latency(&vec![50_000; answered]);
    stats
}
