//! Which processes' transactions are told where not all are: for a while all of one
//! process, so that what belongs together is seen together, then those of another.

/// How long the same processes are sampled, nanoseconds, as a power of two: 8.6 s.
const WINDOW_BITS: u32 = 33;

/// Transactions told of one window at most.
pub const MOST: u64 = 512;

/// Of each 2^this processes one is sampled at a time, at least.
pub const MAX_BITS: u8 = 16;

/// How many transactions were told of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Told {
    /// Which.
    pub window: u64,
    /// How many.
    pub transactions: u64,
}

/// The window that a kernel time lies in, nanoseconds.
#[inline(always)]
#[must_use]
pub const fn window(at_ns: u64) -> u64 {
    at_ns >> WINDOW_BITS
}

/// Whether a process is sampled in a window, as one of 2^`bits`; at least 1 bit.
/// From one window to the next its product goes on by the golden ratio, so each
/// process has its turn as evenly as can be.
#[inline(always)]
#[must_use]
pub const fn is_sampled(tgid: u32, window: u64, bits: u8) -> bool {
    let word = ((tgid as u64) << 32) ^ window;
    word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits as u32) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_has_its_turn_and_no_more() {
        for bits in [1, 4, 6] {
            for tgid in [1, 2, 77, 4_194_304] {
                let windows = 1_u64 << 12;
                let turns = (1_000..1_000 + windows).filter(|it| is_sampled(tgid, *it, bits));
                let expected = windows >> bits;
                assert!(turns.count().abs_diff(expected as usize) <= 3, "{bits} {tgid}");
            }
        }
    }

    #[test]
    fn in_each_window_about_as_many_processes_are_sampled() {
        for window in [0, 1, 123_456] {
            let sampled = (1..=16_000).filter(|tgid| is_sampled(*tgid, window, 4)).count();
            assert!((900..1_100).contains(&sampled), "{sampled}");
        }
    }

    #[test]
    fn a_window_is_some_seconds() {
        let second = 1_000_000_000;
        assert_eq!(window(8 * second), 0);
        assert_eq!(window(9 * second), 1);
    }
}
