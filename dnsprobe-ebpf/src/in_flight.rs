//! The queries in flight; how slots are shared is told in
//! `dnsprobe_common::slots`.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use dnsprobe_common::{
    flow::InFlight,
    slots::{GROUPS, Group, Slot, WAYS, group},
};

use crate::{flow::Key, maps::add32};

/// Swept by user space, which sees it as memory.
#[map(name = "IN_FLIGHT")]
static TABLE: Array<Group> = Array::with_max_entries(GROUPS, BPF_F_MMAPABLE);

/// A slot with its query.
#[derive(Clone, Copy)]
pub(crate) struct Entry(*mut Slot);

impl Entry {
    /// The query. Lives as long as the table.
    #[inline(always)]
    pub(crate) fn query(self) -> *mut InFlight {
        // SAFETY: only an address inside a live map value is taken.
        unsafe { &raw mut (*self.0).query }
    }

    /// Lets a claimed slot be found, its query being written.
    #[inline(always)]
    pub(crate) fn publish(self, key: &Key) {
        // SAFETY: a live map value. The first word last: without it nobody takes the
        // others for a key.
        unsafe {
            let stored = (&raw mut (*self.0).key).cast::<u64>();
            let mut word = key.0.len();
            while word > 0 {
                word -= 1;
                write_volatile(stored.add(word), key.0[word]);
            }
        }
    }

    /// Ends the query with this key and frees its slot; `false` when somebody else
    /// did.
    #[inline(always)]
    pub(crate) fn end(self, key: &Key) -> bool {
        // SAFETY: a live map value.
        unsafe {
            let endings = &raw mut (*self.0).endings;
            add32(endings, 1);
            if read_volatile(endings) != 1 {
                return false;
            }
            // Somebody may have ended it before, and the slot may be another query's.
            if !key.has_word_of(&raw const (*self.0).key) {
                add32(endings, MINUS_ONE);
                return false;
            }
            write_volatile((&raw mut (*self.0).key).cast::<u64>(), 0);
            add32(&raw mut (*self.0).claims, MINUS_ONE);
        }
        true
    }
}

const MINUS_ONE: u64 = 1_u64.wrapping_neg();

/// The slot of a group.
///
/// # Safety
/// `group` is a live map value.
#[inline(always)]
unsafe fn slot(group: *mut Group, way: usize) -> *mut Slot {
    // SAFETY: see above; callers stay below `WAYS`.
    unsafe { (&raw mut (*group).slots).cast::<Slot>().add(way) }
}

/// The query with this key.
#[inline(always)]
pub(crate) fn find(key: &Key) -> Option<Entry> {
    let group = TABLE.get_ptr_mut(group(&key.0))?;
    let mut way = 0;
    while way < WAYS {
        // SAFETY: a live map value.
        unsafe {
            let slot = slot(group, way);
            let stored = &raw const (*slot).key;
            if key.has_word_of(stored) && key.has_rest_of(stored) {
                return Some(any(group, slot));
            }
        }
        way += 1;
    }
    None
}

/// The same slot, for the verifier any of its group.
///
/// # Safety
/// `slot` is a slot of `group`, which is a live map value.
#[inline(always)]
unsafe fn any(group: *mut Group, found: *mut Slot) -> Entry {
    const { assert!(WAYS.is_power_of_two()) };
    // SAFETY: see above; the mask keeps it in the group.
    unsafe {
        let way = read_volatile(&raw const (*found).way) as usize & (WAYS - 1);
        Entry(slot(group, way))
    }
}

/// A slot for a query that is not in the table; `None` when its group is full.
/// Nobody finds it before it is published.
#[inline(always)]
pub(crate) fn claim(key: &Key) -> Option<Entry> {
    let group = TABLE.get_ptr_mut(group(&key.0))?;
    let mut way = 0;
    while way < WAYS {
        // SAFETY: a live map value.
        unsafe {
            let slot = slot(group, way);
            let claims = &raw mut (*slot).claims;
            if read_volatile(claims) == 0 {
                add32(claims, 1);
                if read_volatile(claims) == 1 {
                    write_volatile(&raw mut (*slot).endings, 0);
                    write_volatile(&raw mut (*slot).way, way as u32);
                    return Some(any(group, slot));
                }
                add32(claims, MINUS_ONE);
            }
        }
        way += 1;
    }
    None
}
