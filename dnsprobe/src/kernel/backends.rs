//! How many queries to each service left for which backend, as the programs count it.

use std::collections::HashMap;

use aya::maps::{HashMap as BpfHashMap, Map, MapData, MapError};
use dnsprobe_common::stats::{BackendKey, MOST_BACKENDS};

use super::{decode::socket, session::SessionError};
use crate::stats::BackendQueries;

/// Backends there may be before idle ones are forgotten.
const PLENTY: usize = MOST_BACKENDS as usize * 3 / 4;

/// A backend is idle when no query left for it for this long.
const IDLE_NS: u64 = 3_600_000_000_000;

/// The programs' counts.
pub(super) struct Backends {
    counts: BpfHashMap<MapData, BackendKey, u64>,
    known: Known,
}

/// What each count was when it last grew, and when.
#[derive(Default)]
struct Known(HashMap<BackendKey, (u64, u64)>);

impl Backends {
    pub(super) fn take(counts: Map) -> Result<Self, SessionError> {
        Ok(Self { counts: BpfHashMap::try_from(counts)?, known: Known::default() })
    }

    /// All of them at kernel nanoseconds `now_ns`, by service and backend. Those that
    /// are long idle go when there are many; one that comes back begins at zero.
    pub(super) fn read(&mut self, now_ns: u64) -> Vec<BackendQueries> {
        // One that cannot be read has just gone.
        let counts: Vec<(BackendKey, u64)> = self.counts.iter().filter_map(Result::ok).collect();
        for idle in self.known.take_in(&counts, now_ns) {
            let _: Result<(), MapError> = self.counts.remove(&idle);
        }
        let mut backends: Vec<BackendQueries> =
            counts.iter().map(|(key, queries)| queries_of(key, *queries)).collect();
        backends.sort_unstable_by_key(|counted| (counted.service, counted.backend));
        backends
    }
}

impl Known {
    /// Takes in a reading; which counts are to go.
    fn take_in(&mut self, counts: &[(BackendKey, u64)], now_ns: u64) -> Vec<BackendKey> {
        let before = std::mem::take(&mut self.0);
        for (key, queries) in counts {
            let last = before.get(key).copied().filter(|(then, _)| then == queries);
            self.0.insert(*key, last.unwrap_or((*queries, now_ns)));
        }
        let scarce = counts.len().saturating_sub(PLENTY);
        let mut idle: Vec<(u64, BackendKey)> = self
            .0
            .iter()
            .map(|(key, (_, grew_ns))| (*grew_ns, *key))
            .filter(|(grew_ns, _)| now_ns.saturating_sub(*grew_ns) >= IDLE_NS)
            .collect();
        idle.sort_unstable_by_key(|(grew_ns, _)| *grew_ns);
        idle.into_iter().take(scarce).map(|(_, key)| key).collect()
    }
}

fn queries_of(key: &BackendKey, queries: u64) -> BackendQueries {
    BackendQueries {
        service: socket(&key.service, key.service_port),
        backend: socket(&key.backend, key.backend_port),
        queries,
    }
}

#[cfg(test)]
mod tests {
    use dnsprobe_common::flow::v4_mapped;

    use super::*;

    fn key(number: u32) -> BackendKey {
        BackendKey {
            service: v4_mapped(u32::from_ne_bytes([10, 96, 0, 10])),
            backend: v4_mapped(number.to_be()),
            service_port: 53,
            backend_port: 5_353,
        }
    }

    #[test]
    fn addresses_are_told_as_they_are_written() {
        let counted = queries_of(&key(0x0af4_0003), 7);
        assert_eq!(counted.service, "10.96.0.10:53".parse().unwrap());
        assert_eq!(counted.backend, "10.244.0.3:5353".parse().unwrap());
        assert_eq!(counted.queries, 7);
    }

    #[test]
    fn only_where_there_are_many_the_idle_ones_go_longest_idle_first() {
        let mut known = Known::default();
        let of = |count: u32| -> Vec<_> { (0..count).map(|number| (key(number), 1)).collect() };
        assert!(known.take_in(&of(10), 0).is_empty());
        assert!(known.take_in(&of(10), 2 * IDLE_NS).is_empty(), "there is room");
        let mut many = of(PLENTY as u32 + 2);
        assert_eq!(known.take_in(&many, 2 * IDLE_NS).len(), 2, "the first ten are idle");
        // One of them is in use again.
        many[0].1 = 2;
        let going = known.take_in(&many, 2 * IDLE_NS + 1);
        assert_eq!(going.len(), 2);
        assert!(going.iter().all(|gone| (1..10).any(|number| key(number) == *gone)));
    }
}
