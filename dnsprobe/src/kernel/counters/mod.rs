//! The kernel's own counters of what it threw away: conntrack, the devices'
//! backlog, UDP. They say how much, never whose: corroboration, no proof.

mod conntrack;
mod softnet;
mod udp;

use serde::Serialize;

pub use conntrack::Conntrack;
pub use softnet::{Processors, Softnet};
pub use udp::Udp;

/// Sums over all processors; `None` where this kernel does not tell.
/// Conntrack and UDP count per network namespace: those of dnsprobe's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Connection tracking.
    pub conntrack: Conntrack,
    /// The backlog between devices and the network stack, of the whole
    /// machine.
    pub softnet: Softnet,
    /// UDP over IPv4.
    pub udp: Udp,
    /// UDP over IPv6.
    pub udp6: Udp,
}

impl Counters {
    /// Reads them all, in some 0.2 ms. No privilege is needed where conntrack
    /// counts in `/proc`; elsewhere `CAP_NET_ADMIN`.
    #[must_use]
    pub fn read() -> Self {
        Self::read_again(&mut Processors::default())
    }

    /// The same for who reads them time and again: nothing goes back when a processor
    /// is switched off.
    #[must_use]
    pub fn read_again(processors: &mut Processors) -> Self {
        Self {
            conntrack: conntrack::read(),
            softnet: softnet::read(processors),
            udp: udp::read(),
            udp6: udp::read_v6(),
        }
    }

    /// What happened since an earlier reading; numbers of entries stay as they
    /// are.
    #[must_use]
    pub fn delta(&self, earlier: &Self) -> Self {
        Self {
            conntrack: self.conntrack.delta(&earlier.conntrack),
            softnet: self.softnet.delta(&earlier.softnet),
            udp: self.udp.delta(&earlier.udp),
            udp6: self.udp6.delta(&earlier.udp6),
        }
    }
}

/// The difference of two sums of 32-bit counters that wrap.
fn since32(later: Option<u64>, earlier: Option<u64>) -> Option<u64> {
    // The wrap of each of them vanishes in the sum's lower half.
    let low = |sum: u64| (sum & u64::from(u32::MAX)) as u32;
    Some(u64::from(low(later?).wrapping_sub(low(earlier?))))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_counter_that_wrapped_still_has_a_difference() {
        let max = u64::from(u32::MAX);
        // One of two processors went from 2^32 - 1 to 2.
        assert_eq!(since32(Some(2 + 10), Some(max + 10)), Some(3));
        assert_eq!(since32(Some(7), Some(7)), Some(0));
        assert_eq!(since32(Some(7), None), None);
    }

    #[test]
    fn reading_is_cheap_and_nothing_happened_in_no_time() {
        let start = Instant::now();
        let first = Counters::read();
        let fastest = (0..20)
            .map(|_| {
                let start = Instant::now();
                let _ = Counters::read();
                start.elapsed()
            })
            .min()
            .unwrap_or(start.elapsed());
        assert!(fastest < Duration::from_millis(1), "{fastest:?}");
        let same = first.delta(&first);
        assert_eq!(same.udp.no_ports, first.udp.no_ports.map(|_| 0));
        assert_eq!(same.conntrack.entries, first.conntrack.entries);
        assert!(first.softnet.dropped.is_some() && first.udp.in_errors.is_some());
    }
}
