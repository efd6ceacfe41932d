//! The counters of one aggregate in memory that the kernel programs write too.

use std::{
    iter::zip,
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

use dnsprobe_common::{
    dns::RCODES,
    histogram::BUCKETS,
    stats::{Latency, Stats},
};

/// All of an aggregate but what only changes along with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Counters {
    queries: u64,
    answered: u64,
    not_followed: u64,
    rcodes: [u64; RCODES],
    latency_ns: u64,
    read_delay_ns: u64,
    tgid: u32,
}

impl Counters {
    /// `stats` is in the mapping or this process's.
    pub(super) fn of(stats: *const Stats) -> Self {
        // SAFETY: see above; plain numbers, of which any bits are valid.
        unsafe {
            Self {
                queries: (&raw const (*stats).queries).read_volatile(),
                answered: (&raw const (*stats).answered).read_volatile(),
                not_followed: (&raw const (*stats).not_followed).read_volatile(),
                rcodes: (&raw const (*stats).rcodes).read_volatile(),
                latency_ns: (&raw const (*stats).latency.sum_ns).read_volatile(),
                read_delay_ns: (&raw const (*stats).read_delay.sum_ns).read_volatile(),
                tgid: (&raw const (*stats).tgid).read_volatile(),
            }
        }
    }
}

/// What an aggregate in the mapping counts, its queries last.
pub(super) fn copy(shared: *const Stats) -> Box<Stats> {
    let mut stats = Box::<Stats>::new_uninit();
    // SAFETY: `shared` is in the mapping and its counters are plain numbers, of which
    // any bits are valid; copied once, because there are thousands.
    unsafe {
        shared.copy_to_nonoverlapping(stats.as_mut_ptr(), 1);
        fence(Ordering::Acquire);
        (*stats.as_mut_ptr()).queries = (&raw const (*shared).queries).read_volatile();
        stats.assume_init()
    }
}

/// The counters of an aggregate: wide ones and buckets. Programs add to all of them.
fn counters(stats: *mut Stats) -> (impl Iterator<Item = *mut u64>, impl Iterator<Item = *mut u32>) {
    // SAFETY: only addresses inside `stats` are taken.
    let (rcodes, latency, read_delay) = unsafe {
        ((&raw mut (*stats).rcodes), &raw mut (*stats).latency, &raw mut (*stats).read_delay)
    };
    // SAFETY: as above.
    let single = unsafe {
        [
            &raw mut (*stats).queries,
            &raw mut (*stats).answered,
            &raw mut (*stats).not_followed,
            &raw mut (*latency).sum_ns,
            &raw mut (*read_delay).sum_ns,
        ]
    };
    // SAFETY: as above.
    let rcodes = (0..RCODES).map(move |code| unsafe { rcodes.cast::<u64>().add(code) });
    let buckets = |latency: *mut Latency| {
        // SAFETY: as above.
        let buckets = unsafe { &raw mut (*latency).buckets }.cast::<u32>();
        // SAFETY: as above.
        (0..BUCKETS).map(move |index| unsafe { buckets.add(index) })
    };
    (single.into_iter().chain(rcodes), buckets(latency).chain(buckets(read_delay)))
}

/// Whether an aggregate in the mapping counts anything.
pub(super) fn has_any(stats: *mut Stats) -> bool {
    let (mut wide, mut buckets) = counters(stats);
    // SAFETY: in the mapping and aligned; the programs use them by atomic additions too.
    unsafe {
        wide.any(|counter| AtomicU64::from_ptr(counter).load(Ordering::Acquire) != 0)
            || buckets.any(|counter| AtomicU32::from_ptr(counter).load(Ordering::Acquire) != 0)
    }
}

/// Subtracts what was read from an aggregate in the mapping, and forgets its largest
/// values.
pub(super) fn subtract(stats: *mut Stats, read: &Stats) {
    let mut read = *read;
    let (wide, buckets) = counters(stats);
    let (read_wide, read_buckets) = counters(&raw mut read);
    // SAFETY: as in `has_any`; `read` is ours.
    unsafe {
        for (counter, read) in zip(wide, read_wide).filter(|(_, read)| **read != 0) {
            AtomicU64::from_ptr(counter).fetch_sub(*read, Ordering::AcqRel);
        }
        for (counter, read) in zip(buckets, read_buckets).filter(|(_, read)| **read != 0) {
            AtomicU32::from_ptr(counter).fetch_sub(*read, Ordering::AcqRel);
        }
        (&raw mut (*stats).latency.max_ns).write_volatile(0);
        (&raw mut (*stats).read_delay.max_ns).write_volatile(0);
    }
}

/// Takes everything out of an aggregate in the mapping.
pub(super) fn take(stats: *mut Stats) -> Stats {
    let read = *copy(stats);
    subtract(stats, &read);
    read
}

/// Adds to an aggregate in the mapping.
pub(super) fn add(stats: *mut Stats, added: &Stats) {
    let mut added = *added;
    let (wide, buckets) = counters(stats);
    let (added_wide, added_buckets) = counters(&raw mut added);
    // SAFETY: as in `subtract`.
    unsafe {
        for (counter, added) in zip(wide, added_wide).filter(|(_, added)| **added != 0) {
            AtomicU64::from_ptr(counter).fetch_add(*added, Ordering::AcqRel);
        }
        for (counter, added) in zip(buckets, added_buckets).filter(|(_, added)| **added != 0) {
            AtomicU32::from_ptr(counter).fetch_add(*added, Ordering::AcqRel);
        }
    }
}
