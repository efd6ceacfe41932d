//! What happened to the node's conntrack as a whole: purges, and counters at
//! some moments.

use std::collections::VecDeque;

/// How many of each are kept; the oldest go first. Both are rare.
const KEPT: usize = 256;

/// Purges and counter readings, oldest first.
#[derive(Debug, Default)]
pub(crate) struct NodeHistory {
    purges: VecDeque<Purge>,
    chain_too_long: VecDeque<(u64, u64)>,
}

/// Every conntrack entry that was not confirmed yet became invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purge {
    pub(crate) at_ns: u64,
    /// Command of the process that asked for it.
    pub(crate) command: Option<String>,
}

impl NodeHistory {
    pub(crate) fn purged(&mut self, at_ns: u64, command: Option<String>) {
        push(&mut self.purges, Purge { at_ns, command });
    }

    /// Takes in the node's count of packets dropped for a long hash chain.
    pub(crate) fn counted(&mut self, at_ns: u64, chain_too_long: u64) {
        push(&mut self.chain_too_long, (at_ns, chain_too_long));
    }

    /// The last purge between two moments.
    pub(crate) fn purge_between(&self, from_ns: u64, to_ns: u64) -> Option<&Purge> {
        self.purges.iter().rev().find(|purge| (from_ns..=to_ns).contains(&purge.at_ns))
    }

    /// By how much the count of packets dropped for a long chain rose between
    /// the readings around a moment; `None` without a reading on each side.
    pub(crate) fn chain_too_long_around(&self, at_ns: u64) -> Option<u64> {
        let before = self.chain_too_long.iter().rev().find(|(read_ns, _)| *read_ns <= at_ns)?;
        let after = self.chain_too_long.iter().find(|(read_ns, _)| *read_ns > at_ns)?;
        Some(after.1.saturating_sub(before.1))
    }
}

fn push<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() == KEPT {
        list.pop_front();
    }
    list.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_is_that_between_the_readings_around_a_moment() {
        let mut history = NodeHistory::default();
        assert_eq!(history.chain_too_long_around(5), None);
        for (at_ns, count) in [(0, 3), (10, 3), (20, 5)] {
            history.counted(at_ns, count);
        }
        assert_eq!(history.chain_too_long_around(5), Some(0));
        assert_eq!(history.chain_too_long_around(10), Some(2));
        assert_eq!(history.chain_too_long_around(15), Some(2));
        assert_eq!(history.chain_too_long_around(20), None);
    }

    #[test]
    fn a_purge_counts_only_within_its_packets_life() {
        let mut history = NodeHistory::default();
        history.purged(10, Some("modprobe".to_owned()));
        assert!(history.purge_between(11, 20).is_none());
        assert!(history.purge_between(0, 9).is_none());
        assert_eq!(history.purge_between(5, 10).unwrap().command.as_deref(), Some("modprobe"));
    }

    #[test]
    fn only_so_much_is_kept() {
        let mut history = NodeHistory::default();
        for at_ns in 0..1_000 {
            history.purged(at_ns, None);
        }
        assert_eq!(history.purges.len(), KEPT);
        assert!(history.purge_between(0, 500).is_none());
        assert!(history.purge_between(999, 999).is_some());
    }
}
