//! The table of queries in flight: an array of groups of slots, because a look-up
//! in a hash map costs three times as much and an insertion ten times.
//!
//! A key's group is computed from it; the query lies in any slot of that group.
//! Where all are taken the query is not followed, and that is counted. Kernel
//! programs on several processors and user space share the table without locks.
//! The target has no compare-and-swap before 5.12, so a slot is taken by adding to
//! a counter and reading it back: additions to one place have an order that all
//! processors agree on, so at most one of them can read 1.

use crate::flow::{InFlight, KeyWords, QueryKey};

/// Slots that one key may lie in.
pub const WAYS: usize = 4;

/// How many groups there are, as a power of two.
pub const GROUP_BITS: u32 = 13;

/// How many groups there are.
pub const GROUPS: u32 = 1 << GROUP_BITS;

/// A place for one query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Slot {
    /// 0: free. Whoever adds one and then reads 1 owns it; others take theirs
    /// back.
    pub claims: u32,
    /// 0: in use. Whoever adds one and then reads 1 may end the query and free the
    /// slot.
    pub endings: u32,
    /// Which query; all zero while free.
    pub key: QueryKey,
    /// Which of its group this slot is, once it was used: read from memory, so that
    /// the verifier does not go on from a look-up once for each slot.
    pub way: u32,
    /// Padding, zero.
    pub pad: u32,
    /// The query.
    pub query: InFlight,
}

/// The slots of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Group {
    /// In no order.
    pub slots: [Slot; WAYS],
}

const _: () = assert!(size_of::<Slot>() == 184);
const _: () = assert!(core::mem::offset_of!(Slot, query).is_multiple_of(8));

/// The group a key belongs to; below [`GROUPS`].
#[inline(always)]
#[must_use]
pub fn group(key: &KeyWords) -> u32 {
    // 2^64 divided by the golden ratio, and a prime: multiplicative hashing, whose
    // upper bits depend on all of the input.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    const SPREAD_AGAIN: u64 = 0xd6e8_feb8_6659_fd93;
    let [ports, netns, _, client, _, server] = key;
    let mixed = ports.wrapping_mul(SPREAD) ^ client ^ (server << 3) ^ netns;
    let mixed = mixed.wrapping_mul(SPREAD_AGAIN);
    (mixed >> (64 - GROUP_BITS)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_differ_in_port_id_or_server_spread_over_all_groups() {
        let mut filled = std::vec![0_u32; GROUPS as usize];
        for number in 0..GROUPS {
            let key = QueryKey {
                client: [0, 0, 0, 0x0b00_f40a],
                server: [0, 0, 0, 0x0a00_600a + ((number & 1) << 24)],
                client_port: 32_768 + (number >> 4) as u16,
                id: (number.wrapping_mul(40_503) >> 3) as u16,
                ..QueryKey::default()
            };
            filled[group(&key.words()) as usize] += 1;
        }
        // As good as chance: one in e groups stays empty, and hardly any has more
        // than a group can hold twice over.
        let empty = filled.iter().filter(|count| **count == 0).count();
        assert!((2_700..3_400).contains(&empty), "{empty}");
        assert!(filled.iter().all(|count| *count <= 9));
    }

    #[test]
    fn the_two_ends_of_a_query_lie_in_different_groups() {
        let client = QueryKey { id: 7, client_port: 40_000, ..QueryKey::default() };
        let server = QueryKey { role: 1, ..client };
        assert_ne!(group(&client.words()), group(&server.words()));
    }
}
