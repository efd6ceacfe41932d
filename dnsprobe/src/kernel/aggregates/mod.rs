//! The aggregates, as memory shared with the kernel programs; how places are shared is
//! told at `dnsprobe_common::stats::StatsSlot`.

mod counters;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    io,
    iter::zip,
    sync::atomic::{Ordering, fence},
};

use aya::maps::{HashMap, MapData, MapError, Stack};
use dnsprobe_common::stats::{AGGREGATES, Stats, StatsKey, StatsSlot};

use self::counters::{Counters, add, copy, has_any, subtract, take};
use super::{grace_period::GracePeriod, session::SessionError, shared::SharedArray};
use crate::stats::AggregateChanges;

/// Aggregates there may be before idle ones are taken back: of new ones so many more
/// find a place between two readings.
pub(super) const PLENTY: usize = AGGREGATES as usize / 2;

/// An aggregate is idle when it did not change for this long.
const IDLE_NS: u64 = 2_000_000_000;

/// Places beyond the last one in use that are looked at: so many processors may be
/// between taking a place and telling what for. Memory beyond stays unmapped.
const LOOK_AHEAD: usize = 64;

/// The programs' maps that say where an aggregate is.
pub(super) trait Places {
    /// The place of an aggregate.
    fn get(&self, key: &StatsKey) -> Option<u32>;
    /// Puts in an aggregate that is not there; `false` when it is, or cannot be.
    fn insert(&mut self, key: &StatsKey, place: u32) -> bool;
    /// Takes one out.
    fn remove(&mut self, key: &StatsKey);
    /// Puts a place on the stack of free ones; `false` when that cannot be.
    fn free(&mut self, place: u32) -> bool;
    /// Begins to wait until no program runs any more that runs now.
    fn grace_period(&self) -> GracePeriod;
}

/// [`Places`] in the kernel.
pub(super) struct KernelPlaces {
    places: HashMap<MapData, StatsKey, u32>,
    free: Stack<MapData, u32>,
}

/// Every aggregate.
pub(super) struct Aggregates<P = KernelPlaces> {
    maps: P,
    slots: SharedArray<StatsSlot>,
    /// Aggregates there may be before idle ones are taken back.
    plenty: usize,
    /// What is known of each place, up to the last one in use.
    known: Vec<Place>,
    /// Places to take a second look at, and until when not.
    resting: Option<(GracePeriod, Vec<(u32, StatsKey)>)>,
}

/// What user space knows of a place.
enum Place {
    /// Nothing is in it, as far as is known.
    Free,
    /// An aggregate.
    Used(Box<Known>),
    /// See [`StatsSlot`].
    Resting,
}

/// What was read of an aggregate.
struct Known {
    key: StatsKey,
    read: Counters,
    /// When it last changed.
    changed_ns: u64,
    /// Read again after its last change: a copy that raced with a program may have
    /// some of its buckets from before that.
    settled: bool,
}

impl KernelPlaces {
    /// Takes the programs' maps and puts all places on the stack, the first on top.
    pub(super) fn take(places: aya::maps::Map, free: aya::maps::Map) -> Result<Self, SessionError> {
        let mut free = Stack::try_from(free)?;
        for place in (0..AGGREGATES).rev() {
            free.push(place, 0)?;
        }
        Ok(Self { places: HashMap::try_from(places)?, free })
    }
}

impl Places for KernelPlaces {
    fn get(&self, key: &StatsKey) -> Option<u32> {
        self.places.get(key, 0).ok()
    }

    fn insert(&mut self, key: &StatsKey, place: u32) -> bool {
        const BPF_NOEXIST: u64 = 1;
        self.places.insert(key, place, BPF_NOEXIST).is_ok()
    }

    fn remove(&mut self, key: &StatsKey) {
        // It can only fail for one that is not there.
        let _: Result<(), MapError> = self.places.remove(key);
    }

    fn free(&mut self, place: u32) -> bool {
        self.free.push(place, 0).is_ok()
    }

    fn grace_period(&self) -> GracePeriod {
        GracePeriod::begin()
    }
}

impl<P: Places> Aggregates<P> {
    pub(super) fn new(maps: P, slots: SharedArray<StatsSlot>, plenty: usize) -> Self {
        Self { maps, slots, plenty, known: Vec::new(), resting: None }
    }

    /// What changed since the last reading, at kernel nanoseconds `now_ns`; so that no
    /// answer is in it whose query is not: the programs count on meanwhile, so answers
    /// are taken first and queries afterwards. Then idle aggregates are taken back
    /// where places are scarce. `in_flight`: the places that queries in flight refer
    /// to, asked for only when it matters.
    ///
    /// # Errors
    /// When there is no room for their memory in this process.
    pub(super) fn read(
        &mut self,
        now_ns: u64,
        in_flight: impl FnOnce() -> HashSet<u32>,
    ) -> io::Result<AggregateChanges> {
        self.end_rest(in_flight)?;
        let changed = self.changed(now_ns)?;
        let given_back = self.take_back(now_ns)?;
        Ok(AggregateChanges { changed, given_back })
    }

    /// How many places are not free, as far as is known.
    pub(super) fn in_use(&self) -> usize {
        self.known.iter().filter(|place| !matches!(place, Place::Free)).count()
    }

    fn changed(&mut self, now_ns: u64) -> io::Result<Vec<(StatsKey, Box<Stats>)>> {
        let mut changed = Vec::new();
        let mut place = 0;
        while place < self.known.len() + LOOK_AHEAD
            && let Some(slot) = self.slots.get(place)?
        {
            let number = place;
            place += 1;
            let before = match self.known.get_mut(number) {
                Some(Place::Resting) => continue,
                Some(Place::Used(known)) => Some(known),
                Some(Place::Free) | None => None,
            };
            // SAFETY: `slot` is in the mapping, and any bits are a key.
            let key = unsafe { (&raw const (*slot).key).read_volatile() };
            // SAFETY: as above.
            let stats = unsafe { &raw const (*slot).stats };
            if let Some(known) = before {
                let is_same = Counters::of(stats) == known.read;
                if is_same && known.settled {
                    continue;
                }
                let copy = copy(stats);
                known.read = Counters::of(&raw const *copy);
                known.settled = is_same;
                if !is_same {
                    known.changed_ns = now_ns;
                }
                changed.push((key, copy));
            } else if key.server_port != 0 && self.maps.get(&key) == Some(number as u32) {
                // The map has the whole key, where this one may be half written.
                let copy = copy(stats);
                let read = Counters::of(&raw const *copy);
                let known = Known { key, read, changed_ns: now_ns, settled: false };
                while self.known.len() <= number {
                    self.known.push(Place::Free);
                }
                self.known[number] = Place::Used(Box::new(known));
                changed.push((key, copy));
            }
        }
        Ok(changed)
    }

    /// Takes back the aggregates that have been idle longest, if for long enough, as
    /// many as places are scarce.
    fn take_back(&mut self, now_ns: u64) -> io::Result<Vec<StatsKey>> {
        let scarce = self.in_use().saturating_sub(self.plenty);
        if scarce == 0 || self.resting.is_some() {
            return Ok(Vec::new());
        }
        let mut idle: Vec<(u64, u32, StatsKey)> = zip(&self.known, 0..)
            .filter_map(|(place, number)| match place {
                Place::Used(known) if known.settled => Some((known.changed_ns, number, known.key)),
                _ => None,
            })
            .filter(|(changed_ns, _, _)| now_ns.saturating_sub(*changed_ns) >= IDLE_NS)
            .collect();
        idle.sort_unstable_by_key(|(changed_ns, number, _)| (*changed_ns, *number));
        idle.truncate(scarce);
        let mut given_back = Vec::new();
        let mut resting = Vec::new();
        for (_, number, key) in idle {
            let Some(slot) = self.slots.get(number as usize)? else { continue };
            // SAFETY: in the mapping.
            let stats = unsafe { &raw mut (*slot).stats };
            let copy = copy(stats);
            let Some(Place::Used(known)) = self.known.get(number as usize) else { continue };
            if Counters::of(&raw const *copy) != known.read {
                continue;
            }
            // SAFETY: in the mapping; the programs compare the port first.
            unsafe { (&raw mut (*slot).key.server_port).write_volatile(0) };
            self.maps.remove(&key);
            subtract(stats, &copy);
            self.known[number as usize] = Place::Resting;
            resting.push((number, key));
            given_back.push(key);
        }
        if !resting.is_empty() {
            self.resting = Some((self.maps.grace_period(), resting));
        }
        Ok(given_back)
    }

    /// Takes the second look at what rests: most places are free then. What was added
    /// since is an aggregate again, or moves to the one that took its place.
    fn end_rest(&mut self, in_flight: impl FnOnce() -> HashSet<u32>) -> io::Result<()> {
        let Some((grace, places)) = self.resting.take() else { return Ok(()) };
        if let Err(grace) = grace.end() {
            self.resting = Some((grace, places));
            return Ok(());
        }
        let in_flight = in_flight();
        let mut resting = Vec::new();
        for (place, key) in places {
            let Some(slot) = self.slots.get(place as usize)? else { continue };
            // SAFETY: in the mapping.
            let stats = unsafe { &raw mut (*slot).stats };
            if has_any(stats) {
                if self.maps.insert(&key, place) {
                    write_key(slot, &key);
                    // New again to the reading that comes now.
                    self.known[place as usize] = Place::Free;
                    continue;
                }
                if let Some(other) = self.maps.get(&key)
                    && let Some(other) = self.slots.get(other as usize)?
                {
                    // SAFETY: in the mapping.
                    add(unsafe { &raw mut (*other).stats }, &take(stats));
                }
                resting.push((place, key));
            } else if in_flight.contains(&place) || !self.free(place, slot) {
                resting.push((place, key));
            }
        }
        if !resting.is_empty() {
            self.resting = Some((self.maps.grace_period(), resting));
        }
        Ok(())
    }

    /// Frees a place that nothing refers to any more and that has nothing in it.
    fn free(&mut self, place: u32, slot: *mut StatsSlot) -> bool {
        // SAFETY: in the mapping, and nobody else's now.
        unsafe {
            (&raw mut (*slot).key).write_volatile(StatsKey::default());
            let stats = &raw mut (*slot).stats;
            (&raw mut (*stats).latency.max_ns).write_volatile(0);
            (&raw mut (*stats).read_delay.max_ns).write_volatile(0);
            (&raw mut (*stats).tgid).write_volatile(0);
        }
        fence(Ordering::Release);
        let is_free = self.maps.free(place);
        if is_free {
            self.known[place as usize] = Place::Free;
        }
        is_free
    }
}

/// Writes the key of a place, its port last: without it nobody takes it for one.
fn write_key(slot: *mut StatsSlot, key: &StatsKey) {
    // SAFETY: `slot` is in the mapping.
    unsafe {
        let stored = &raw mut (*slot).key;
        stored.write_volatile(StatsKey { server_port: 0, ..*key });
        fence(Ordering::Release);
        (&raw mut (*stored).server_port).write_volatile(key.server_port);
    }
}
