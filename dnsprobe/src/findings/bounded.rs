//! Collections with a limit: what no longer fits is counted.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::Hash,
};

/// The latest values by key; the oldest go first.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    by_key: HashMap<K, VecDeque<V>>,
    order: VecDeque<K>,
    most: usize,
}

impl<K: Eq + Hash + Clone, V> Recent<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { by_key: HashMap::new(), order: VecDeque::new(), most }
    }

    pub(super) fn add(&mut self, key: K, value: V) {
        self.order.push_back(key.clone());
        self.by_key.entry(key).or_default().push_back(value);
        if self.order.len() > self.most {
            self.forget_oldest();
        }
    }

    pub(super) fn of(&self, key: &K) -> impl DoubleEndedIterator<Item = &V> {
        self.by_key.get(key).into_iter().flatten()
    }

    fn forget_oldest(&mut self) {
        let Some(key) = self.order.pop_front() else { return };
        if let Some(values) = self.by_key.get_mut(&key) {
            values.pop_front();
            if values.is_empty() {
                self.by_key.remove(&key);
            }
        }
    }
}

/// A map that takes no new keys when it is full.
#[derive(Debug)]
pub(super) struct Capped<K, V> {
    map: BTreeMap<K, V>,
    most: usize,
    /// How often there was no room.
    pub(super) refused: u64,
}

impl<K: Ord, V: Default> Capped<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { map: BTreeMap::new(), most, refused: 0 }
    }

    /// The value of a key, new if there is room.
    pub(super) fn entry(&mut self, key: K) -> Option<&mut V> {
        if self.map.len() >= self.most && !self.map.contains_key(&key) {
            self.refused += 1;
            return None;
        }
        Some(self.map.entry(key).or_default())
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_value_makes_room() {
        let mut recent = Recent::new(2);
        for (key, value) in [('a', 1), ('b', 2), ('a', 3)] {
            recent.add(key, value);
        }
        assert_eq!(recent.of(&'a').collect::<Vec<_>>(), [&3]);
        recent.add('c', 4);
        assert_eq!(recent.of(&'b').count(), 0);
        assert_eq!(recent.by_key.len(), 2);
    }

    #[test]
    fn a_full_map_counts_what_it_refuses() {
        let mut map = Capped::<u8, u64>::new(1);
        *map.entry(1).unwrap() += 1;
        assert!(map.entry(2).is_none());
        *map.entry(1).unwrap() += 1;
        assert_eq!((map.get(&1), map.refused), (Some(&2), 1));
    }
}
