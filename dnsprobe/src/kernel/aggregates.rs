//! The aggregates, as memory shared with the kernel programs; how places are shared is
//! told at `dnsprobe_common::stats::StatsSlot`.

use std::{
    collections::HashSet,
    io,
    iter::zip,
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

use aya::maps::{HashMap, MapData, MapError, Stack};
use dnsprobe_common::{
    dns::RCODES,
    stats::{AGGREGATES, Latency, Stats, StatsKey, StatsSlot},
};

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

/// All of an aggregate but what only changes along with it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Counters {
    queries: u64,
    answered: u64,
    not_followed: u64,
    rcodes: [u64; RCODES],
    latency_ns: u64,
    read_delay_ns: u64,
    tgid: u32,
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
        let is_taken = |place: &&Place| !matches!(place, Place::Free);
        let scarce = self.known.iter().filter(is_taken).count().saturating_sub(self.plenty);
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

impl Counters {
    /// `stats` is in the mapping or this process's.
    fn of(stats: *const Stats) -> Self {
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
fn copy(shared: *const Stats) -> Box<Stats> {
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
        (0..dnsprobe_common::histogram::BUCKETS).map(move |index| unsafe { buckets.add(index) })
    };
    (single.into_iter().chain(rcodes), buckets(latency).chain(buckets(read_delay)))
}

/// Whether an aggregate in the mapping counts anything.
fn has_any(stats: *mut Stats) -> bool {
    let (mut wide, mut buckets) = counters(stats);
    // SAFETY: in the mapping and aligned; the programs use them by atomic additions too.
    unsafe {
        wide.any(|counter| AtomicU64::from_ptr(counter).load(Ordering::Acquire) != 0)
            || buckets.any(|counter| AtomicU32::from_ptr(counter).load(Ordering::Acquire) != 0)
    }
}

/// Subtracts what was read from an aggregate in the mapping, and forgets its largest
/// values.
fn subtract(stats: *mut Stats, read: &Stats) {
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
fn take(stats: *mut Stats) -> Stats {
    let read = *copy(stats);
    subtract(stats, &read);
    read
}

/// Adds to an aggregate in the mapping.
fn add(stats: *mut Stats, added: &Stats) {
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

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::HashMap, rc::Rc};

    use proptest::prelude::*;

    use super::*;
    use crate::stats::{AggregateChanges, testing::EMPTY_STATS};

    const PLACES: usize = 6;
    const SECOND: u64 = 1_000_000_000;

    /// What both sides share, and what the programs do with it.
    #[derive(Default)]
    struct Maps {
        places: HashMap<StatsKey, u32>,
        free: Vec<u32>,
    }

    impl Places for Rc<RefCell<Maps>> {
        fn get(&self, key: &StatsKey) -> Option<u32> {
            self.borrow().places.get(key).copied()
        }

        fn insert(&mut self, key: &StatsKey, place: u32) -> bool {
            let places = &mut self.borrow_mut().places;
            let is_new = !places.contains_key(key);
            if is_new {
                places.insert(*key, place);
            }
            is_new
        }

        fn remove(&mut self, key: &StatsKey) {
            self.borrow_mut().places.remove(key);
        }

        fn free(&mut self, place: u32) -> bool {
            self.borrow_mut().free.push(place);
            true
        }

        fn grace_period(&self) -> GracePeriod {
            GracePeriod::over()
        }
    }

    /// A node: the programs on one side, user space with its sums on the other.
    struct Node {
        maps: Rc<RefCell<Maps>>,
        slots: *mut StatsSlot,
        aggregates: Aggregates<Rc<RefCell<Maps>>>,
        /// The place the programs remember.
        last: u32,
        /// Places where queries in flight are counted, with their keys.
        in_flight: Vec<(u32, StatsKey)>,
        /// Places that programs have looked up, and whether user space has read since.
        running: Vec<(u32, StatsKey, bool)>,
        now_ns: u64,
        /// By key: queries and answers, as they happened and as user space knows.
        happened: HashMap<StatsKey, (u64, u64)>,
        known: HashMap<StatsKey, (u64, u64)>,
        before: HashMap<StatsKey, Box<Stats>>,
    }

    fn key(number: u64) -> StatsKey {
        StatsKey { cgroup: number, server_port: 53, ..StatsKey::default() }
    }

    impl Node {
        fn new(plenty: usize) -> Self {
            // Leaked: the programs' memory is there as long as anything.
            let slots: &'static mut [StatsSlot] = Vec::leak(
                (0..PLACES)
                    .map(|_| StatsSlot { key: StatsKey::default(), stats: EMPTY_STATS })
                    .collect(),
            );
            let free = (0..PLACES as u32).rev().collect();
            let maps = Rc::new(RefCell::new(Maps { free, ..Maps::default() }));
            let first = slots.as_mut_ptr();
            Self {
                aggregates: Aggregates::new(Rc::clone(&maps), SharedArray::over(slots), plenty),
                maps,
                slots: first,
                last: 0,
                in_flight: Vec::new(),
                running: Vec::new(),
                now_ns: 0,
                happened: HashMap::new(),
                known: HashMap::new(),
                before: HashMap::new(),
            }
        }

        fn slot(&self, place: u32) -> *mut StatsSlot {
            assert!((place as usize) < PLACES);
            // SAFETY: of the leaked memory.
            unsafe { self.slots.add(place as usize) }
        }

        /// As the programs do: `None` when every place is taken.
        fn look_up(&mut self, key: &StatsKey) -> Option<u32> {
            // SAFETY: of the leaked memory, in one thread.
            if unsafe { (*self.slot(self.last)).key } == *key {
                return Some(self.last);
            }
            let found = self.maps.get(key);
            let place = match found {
                Some(place) => place,
                None => {
                    let place = self.maps.borrow_mut().free.pop()?;
                    assert!(self.maps.insert(key, place));
                    // SAFETY: as above.
                    unsafe {
                        assert_eq!((*self.slot(place)).stats, EMPTY_STATS);
                    }
                    write_key(self.slot(place), key);
                    place
                }
            };
            self.last = place;
            Some(place)
        }

        fn begin(&mut self, place: u32, key: StatsKey) {
            // SAFETY: as above.
            unsafe { (*self.slot(place)).stats.queries += 1 };
            self.happened.entry(key).or_default().0 += 1;
            self.in_flight.push((place, key));
        }

        fn answer(&mut self) {
            let Some((place, key)) = self.in_flight.pop() else { return };
            // SAFETY: as above.
            unsafe {
                let stats = &raw mut (*self.slot(place)).stats;
                (*stats).answered = (*stats).answered.wrapping_add(1);
                (*stats).latency.sum_ns += 7;
                (*stats).latency.max_ns = 7;
                (*stats).latency.buckets[3] += 1;
            }
            self.happened.entry(key).or_default().1 += 1;
        }

        fn read(&mut self) {
            // A grace period has passed since the reading before the last.
            let running = std::mem::take(&mut self.running);
            for (place, key, was_read) in running {
                if was_read {
                    self.begin(place, key);
                } else {
                    self.running.push((place, key, true));
                }
            }
            self.now_ns += SECOND;
            let in_flight = self.in_flight.iter().map(|(place, _)| *place).collect();
            let changes = self.aggregates.read(self.now_ns, || in_flight).unwrap();
            let AggregateChanges { changed, given_back } = changes;
            for (key, now) in changed {
                let before = self.before.get(&key).map_or((0, 0), |it| (it.queries, it.answered));
                let known = self.known.entry(key).or_default();
                known.0 += now.queries - before.0;
                known.1 += now.answered - before.1;
                assert_eq!(u64::from(now.latency.buckets[3]), now.answered);
                self.before.insert(key, now);
            }
            for key in given_back {
                self.before.remove(&key);
            }
        }
    }

    #[test]
    fn idle_aggregates_make_room_when_places_are_scarce_and_only_then() {
        let mut node = Node::new(3);
        for number in 1..=3 {
            let place = node.look_up(&key(number)).unwrap();
            node.begin(place, key(number));
            node.answer();
        }
        for _ in 0..5 {
            node.read();
        }
        assert_eq!(node.maps.borrow().free.len(), PLACES - 3);
        for number in 4..=6 {
            let place = node.look_up(&key(number)).unwrap();
            node.begin(place, key(number));
            node.answer();
        }
        assert_eq!(node.look_up(&key(7)), None);
        for _ in 0..5 {
            node.read();
        }
        assert_eq!(node.maps.borrow().free.len(), 3);
        assert!(node.maps.get(&key(1)).is_none(), "the one idle longest");
        assert!(node.look_up(&key(7)).is_some());
        assert_eq!(node.known, node.happened);
    }

    #[test]
    fn what_comes_while_a_place_rests_is_counted_once() {
        let mut node = Node::new(0);
        let place = node.look_up(&key(1)).unwrap();
        node.begin(place, key(1));
        node.running.push((place, key(1), false));
        for _ in 0..4 {
            node.read();
        }
        // The answer comes to a place that was taken back.
        node.answer();
        for _ in 0..8 {
            node.read();
        }
        node.answer();
        for _ in 0..8 {
            node.read();
        }
        assert_eq!(node.happened[&key(1)], (2, 2));
        assert_eq!(node.known, node.happened);
        assert_eq!(node.maps.borrow().free.len(), PLACES);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Query(u64),
        Answer,
        LookUp(u64),
        Read,
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_counted_twice_and_no_place_is_lost(
            plenty in 0..PLACES,
            steps in prop::collection::vec(
                prop_oneof![
                    3 => (1..9_u64).prop_map(Step::Query),
                    2 => Just(Step::Answer),
                    1 => (1..9_u64).prop_map(Step::LookUp),
                    4 => Just(Step::Read),
                ],
                1..120,
            ),
        ) {
            let mut node = Node::new(plenty);
            for step in steps {
                match step {
                    Step::Query(number) => {
                        let key = key(number);
                        if let Some(place) = node.look_up(&key) {
                            node.begin(place, key);
                        }
                    }
                    Step::Answer => node.answer(),
                    Step::LookUp(number) => {
                        let key = key(number);
                        if let Some(place) = node.look_up(&key) {
                            node.running.push((place, key, false));
                        }
                    }
                    Step::Read => node.read(),
                }
            }
            while !(node.in_flight.is_empty() && node.running.is_empty()) {
                node.answer();
                node.read();
            }
            for _ in 0..12 {
                node.read();
            }
            node.known.retain(|_, count| *count != (0, 0));
            prop_assert_eq!(&node.known, &node.happened);
            let maps = node.maps.borrow();
            prop_assert_eq!(maps.free.len() + maps.places.len(), PLACES);
            prop_assert!(maps.places.len() <= plenty);
        }
    }
}
