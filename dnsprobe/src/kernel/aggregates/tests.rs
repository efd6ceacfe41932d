//! Programs and user space, in any order.

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
