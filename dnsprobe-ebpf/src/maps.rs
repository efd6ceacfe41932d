//! All maps, with what bounds them.

use core::arch::asm;

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use dnsprobe_common::{
    event::{Answer, Clash, Recent, Sent},
    flow::{InFlight, QueryKey, Tuple},
    stats::{Health, Stats, StatsKey},
};

use crate::ipvs::Connection;

/// Failures, and finished transactions when tracing. Bounded: a full buffer
/// counts [`Health::EventsLost`].
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Queries that wait for an answer or a reader. Swept by user space; a full
/// map counts [`Health::InFlightFull`] and the query's `not_followed`.
#[map]
pub(crate) static IN_FLIGHT: HashMap<QueryKey, InFlight> = HashMap::with_max_entries(32_768, 0);

/// The latest queries with their questions, when kept at all.
#[map]
pub(crate) static SENT: LruHashMap<QueryKey, Sent> = LruHashMap::with_max_entries(16_384, 0);

/// The latest queries of each flow, when kept at all.
#[map]
pub(crate) static FLOWS: LruHashMap<Tuple, Recent> = LruHashMap::with_max_entries(16_384, 0);

/// The last answer to each question of a client socket, whichever server gave
/// it (the key has no server), when questions are kept: a resolver that asked
/// several servers closes its socket after the first answer.
#[map]
pub(crate) static ANSWERED: LruHashMap<QueryKey, Answer> = LruHashMap::with_max_entries(16_384, 0);

/// The aggregates. A full map counts [`Health::StatsFull`].
#[map]
pub(crate) static STATS: HashMap<StatsKey, Stats> = HashMap::with_max_entries(2_048, 0);

/// One all-zero aggregate to start new ones from; never written.
#[map]
static EMPTY_STATS: Array<Stats> = Array::with_max_entries(1, 0);

/// [`Health`] counters.
#[map]
static HEALTH: PerCpuArray<u64> = PerCpuArray::with_max_entries(Health::ALL.len() as u32, 0);

/// A query on its way into [`SENT`]: too large for the stack.
#[map]
pub(crate) static SENT_SCRATCH: PerCpuArray<Sent> = PerCpuArray::with_max_entries(1, 0);

/// A clash between entry and return of `nf_ct_resolve_clash`, which runs with
/// softirqs off, so nothing comes between on this processor.
#[map]
pub(crate) static CLASH_SCRATCH: PerCpuArray<Clash> = PerCpuArray::with_max_entries(1, 0);

/// The packet last offered to a UDP socket on this processor.
#[map]
pub(crate) static LAST_QUEUED: PerCpuArray<Queued> = PerCpuArray::with_max_entries(1, 0);

/// The query last sent on this processor.
#[map]
pub(crate) static LAST_SENT: PerCpuArray<LastSent> = PerCpuArray::with_max_entries(1, 0);

/// When `early_drop` last found nothing to evict on this processor; cleared by
/// the next netfilter drop there.
#[map]
pub(crate) static TABLE_FULL: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The IPVS connection last looked up on this processor whose real server is
/// not available.
#[map]
pub(crate) static IPVS_LOST: PerCpuArray<Connection> = PerCpuArray::with_max_entries(1, 0);

/// The packet for which IPVS last found no real server on this processor.
#[map]
pub(crate) static IPVS_NO_BACKEND: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// See [`LAST_SENT`].
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct LastSent {
    pub(crate) socket: u64,
    pub(crate) at_ns: u64,
    pub(crate) key: QueryKey,
    pub(crate) pad: u32,
}

/// See [`LAST_QUEUED`].
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Queued {
    pub(crate) packet: u64,
    pub(crate) socket: u64,
}

/// Counts something the programs could not do.
#[inline(always)]
pub(crate) fn count(what: Health) {
    if let Some(counter) = HEALTH.get_ptr_mut(what as u32) {
        // SAFETY: this processor's own slot.
        unsafe { *counter += 1 };
    }
}

/// Adds to a counter shared by processors. Written as the instruction itself:
/// the target has no compare-and-swap before 5.12, so the core library offers
/// no atomic arithmetic for it.
///
/// # Safety
/// `counter` points into a live map value.
#[inline(always)]
pub(crate) unsafe fn add(counter: *mut u64, amount: u64) {
    // SAFETY: see above; map values are 8-byte aligned.
    unsafe {
        asm!(
            "lock *(u64 *)({counter} + 0) += {amount}",
            counter = in(reg) counter,
            amount = in(reg) amount,
            options(nostack),
        );
    }
}

/// [`add`] for 32 bits; wraps.
///
/// # Safety
/// `counter` points into a live map value.
#[inline(always)]
pub(crate) unsafe fn add32(counter: *mut u32, amount: u64) {
    // SAFETY: see above; the field is 4-byte aligned.
    unsafe {
        asm!(
            "lock *(u32 *)({counter} + 0) += {amount}",
            counter = in(reg) counter,
            amount = in(reg) amount,
            options(nostack),
        );
    }
}

/// The aggregate for a key, made when it is new.
#[inline(always)]
pub(crate) fn stats(key: &StatsKey) -> Option<*mut Stats> {
    if let Some(stats) = STATS.get_ptr_mut(key) {
        return Some(stats);
    }
    let empty = EMPTY_STATS.get(0)?;
    // Another processor may have been first; then its entry is found below.
    let _ = STATS.insert(key, empty, 1);
    let stats = STATS.get_ptr_mut(key);
    if stats.is_none() {
        count(Health::StatsFull);
    }
    stats
}
