//! All maps, with what bounds them.

use core::{
    arch::asm,
    mem::transmute,
    ptr::{read_volatile, write_volatile},
};

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_NOEXIST},
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, Stack},
};
use dnsprobe_common::{
    event::{Answer, Clash, Recent, Sent},
    flow::{KeyWords, QueryKey, Transport, Tuple, V4_MAPPED_WORD},
    sample::Told,
    stats::{AGGREGATES, BackendKey, Health, MOST_BACKENDS, Stats, StatsKey, StatsSlot},
};

use crate::ipvs::Connection;

/// Failures, and finished transactions when tracing. Bounded: a full buffer
/// counts [`Health::EventsLost`].
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Cgroups as they are made; some hundreds wait in it. Apart from [`EVENTS`], so
/// that a flood of them loses no failure.
#[map]
pub(crate) static CGROUPS: RingBuf = RingBuf::with_byte_size(1 << 18, 0);

/// Captured packets; a full buffer counts [`Health::PacketsLost`]. User space makes
/// it as small as it can be where nothing is captured.
#[map]
pub(crate) static PACKETS: RingBuf = RingBuf::with_byte_size(1 << 22, 0);

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

/// The place of each aggregate in [`STATS`].
#[map]
static STATS_PLACES: HashMap<StatsKey, u32> = HashMap::with_max_entries(AGGREGATES, 0);

/// The aggregates. Read by user space, which sees them as memory, and takes back
/// those that are idle; see `dnsprobe_common::stats`.
#[map]
static STATS: Array<StatsSlot> = Array::with_max_entries(AGGREGATES, BPF_F_MMAPABLE);

/// The places in [`STATS`] that are free, put there by user space. None left: counts
/// [`Health::StatsFull`].
#[map]
static STATS_FREE: Stack<u32> = Stack::with_max_entries(AGGREGATES, 0);

/// The place that each program used last on this processor: one after the other,
/// queries tend to be of the same pod and server. No two programs share one, and none
/// interrupts itself.
#[map]
static STATS_LAST: PerCpuArray<u32> = PerCpuArray::with_max_entries(16, 0);

/// A [`StatsKey`] in words.
pub(crate) type StatsWords = [u64; 6];

/// How many queries to each service left for which backend; read by user space, which
/// takes out those that are long idle when they get many. Full: counts
/// [`Health::BackendsFull`].
#[map]
pub(crate) static BACKENDS: HashMap<BackendKey, u64> = HashMap::with_max_entries(MOST_BACKENDS, 0);

/// The transactions of sampled processes that were told lately.
#[map]
pub(crate) static TOLD: Array<Told> = Array::with_max_entries(1, 0);

/// [`Health`] counters.
#[map]
static HEALTH: PerCpuArray<u64> = PerCpuArray::with_max_entries(Health::ALL.len() as u32, 0);

/// A query on its way into [`SENT`]: too large for the stack. One for each program
/// that another may interrupt on this processor: see [`scratch`].
#[map]
pub(crate) static SENT_SCRATCH: PerCpuArray<Sent> = PerCpuArray::with_max_entries(4, 0);

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
    pub(crate) key: KeyWords,
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

/// The aggregate at a place.
#[inline(always)]
pub(crate) fn stats_at(place: u32) -> Option<*mut Stats> {
    let slot = STATS.get_ptr_mut(place)?;
    // SAFETY: only an address inside a live map value is taken.
    Some(unsafe { &raw mut (*slot).stats })
}

/// The first program at a function, or the one that looks whether the first ran.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Run {
    First = 0,
    Again = 1,
}

/// Which program uses an aggregate; see [`STATS_LAST`].
#[inline(always)]
fn user(key: &StatsWords, transport: Transport, run: Run) -> u32 {
    let role = (key[5] >> 48) as u32 & 1;
    let is_v6 = key[4] as u32 != V4_MAPPED_WORD;
    let which = u32::from(transport as u8) << 1 | u32::from(is_v6) << 2;
    role | which | u32::from(run as u8) << 3
}

/// The place of [`SENT_SCRATCH`] that no other program uses.
#[inline(always)]
pub(crate) fn scratch(transport: Transport, run: Run, is_client: bool) -> u32 {
    match transport {
        Transport::Udp if is_client => u32::from(run as u8),
        Transport::Udp => 2,
        Transport::Tcp => 3,
    }
}

/// The aggregate for a key, made when it is new, and its place.
#[inline(always)]
pub(crate) fn stats(key: &StatsWords, transport: Transport, run: Run) -> Option<(u32, *mut Stats)> {
    let last = STATS_LAST.get_ptr_mut(user(key, transport, run) & 15)?;
    // SAFETY: this processor's own map value.
    let place = unsafe { *last };
    let slot = STATS.get_ptr_mut(place)?;
    // SAFETY: live map values.
    unsafe {
        if is_of(slot, key) {
            return Some((place, &raw mut (*slot).stats));
        }
        // SAFETY: as large, and any words are a key.
        let place = place_of(&transmute::<StatsWords, StatsKey>(*key))?;
        *last = place;
        Some((place, stats_at(place)?))
    }
}

/// Whether an aggregate is the one for a key; one that user space has taken back is of
/// no key. Word by word, and read each time: it may be taken back at any moment.
///
/// # Safety
/// `slot` points into a live map value.
#[inline(always)]
unsafe fn is_of(slot: *const StatsSlot, key: &StatsWords) -> bool {
    // SAFETY: see above; a key is as many words.
    let stored = unsafe { (&raw const (*slot).key).cast::<u64>() };
    let mut word = key.len();
    while word > 0 {
        word -= 1;
        // SAFETY: as above.
        if unsafe { read_volatile(stored.add(word)) } != key[word] {
            return false;
        }
    }
    true
}

#[inline(always)]
fn place_of(key: &StatsKey) -> Option<u32> {
    if let Some(place) = STATS_PLACES.get_ptr(key) {
        // SAFETY: a live map value.
        return Some(unsafe { *place });
    }
    let Ok(Some(place)) = STATS_FREE.pop() else {
        count(Health::StatsFull);
        return None;
    };
    if STATS_PLACES.insert(key, &place, u64::from(BPF_NOEXIST)).is_ok() {
        publish(place, key);
        return Some(place);
    }
    // Another processor was first.
    let _ = STATS_FREE.push(&place, 0);
    // SAFETY: a live map value.
    STATS_PLACES.get_ptr(key).map(|place| unsafe { *place })
}

/// Tells which key an aggregate is for. The last word last: it has the port, without
/// which nobody takes the others for a key.
#[inline(always)]
fn publish(place: u32, key: &StatsKey) {
    let Some(slot) = STATS.get_ptr_mut(place) else { return };
    let words: *const u64 = (&raw const *key).cast();
    let mut word = 0;
    while word < size_of::<StatsKey>() / 8 {
        // SAFETY: a live map value; both keys are that many words.
        unsafe {
            let stored = (&raw mut (*slot).key).cast::<u64>().add(word);
            write_volatile(stored, *words.add(word));
        }
        word += 1;
    }
}
