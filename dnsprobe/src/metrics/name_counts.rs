//! Which names come most: only for who asks for it, because names are many and tell
//! much.

use std::{cmp::Reverse, collections::HashMap};

use crate::dns::Name;

/// Names that are counted one by one. When there are more, the rarest are given up.
const NAMES: usize = 1_024;

/// Queries by name, as far as they are counted one by one.
#[derive(Debug, Default)]
pub struct NameCounts {
    /// Names are the same in any mixture of cases, and some resolvers ask in one.
    counts: HashMap<Name, u64>,
    /// Of all other names, and of queries whose name was not kept.
    others: u64,
}

impl NameCounts {
    /// One more query.
    pub fn count(&mut self, name: Option<&Name>) {
        let Some(name) = name else {
            self.others += 1;
            return;
        };
        if let Some(count) = self.counts.get_mut(name) {
            *count += 1;
            return;
        }
        if self.counts.len() >= NAMES {
            self.give_up_the_rarest();
        }
        self.counts.insert(name.clone(), 1);
    }

    /// At most so many names, most queries first, and how many all others have
    /// together.
    #[must_use]
    pub fn top(&self, names: usize) -> (Vec<(&Name, u64)>, u64) {
        let mut top: Vec<(&Name, u64)> =
            self.counts.iter().map(|(name, count)| (name, *count)).collect();
        top.sort_by_key(|&(name, count)| (Reverse(count), name));
        let left_out: u64 = top.iter().skip(names).map(|(_, count)| count).sum();
        top.truncate(names);
        (top, self.others + left_out)
    }

    fn give_up_the_rarest(&mut self) {
        let Some(least) = self.counts.values().min().copied() else { return };
        let others = &mut self.others;
        self.counts.retain(|_, count| {
            let keep = *count > least;
            *others += if keep { 0 } else { *count };
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(names: &NameCounts, count: usize) -> (Vec<(String, u64)>, u64) {
        let (top, others) = names.top(count);
        (top.into_iter().map(|(name, count)| (name.to_string(), count)).collect(), others)
    }

    #[test]
    fn the_most_frequent_come_first_and_the_rest_is_summed_up() {
        let mut names = NameCounts::default();
        for asked in ["a.test.", "b.test.", "B.TEST.", "c.test.", "c.test.", "c.test."] {
            names.count(Some(&asked.parse().unwrap()));
        }
        names.count(None);
        assert_eq!(top(&names, 2), (vec![("c.test.".into(), 3), ("b.test.".into(), 2)], 2));
        assert_eq!(top(&names, 0), (vec![], 7));
    }

    #[test]
    fn a_flood_of_names_takes_no_memory_and_no_count_away() {
        let mut names = NameCounts::default();
        for number in 0..5 * NAMES {
            names.count(Some(&format!("n{number}.test.").parse().unwrap()));
            names.count(Some(&"often.test.".parse().unwrap()));
            assert!(names.counts.len() <= NAMES);
        }
        let all = 5 * NAMES as u64;
        assert_eq!(top(&names, 1), (vec![("often.test.".into(), all)], all));
    }
}
