//! The queries in flight; how slots are shared is told in
//! `dnsprobe_common::slots`.

use core::{
    mem::offset_of,
    ptr::{read_volatile, write_volatile},
};

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use dnsprobe_common::{
    flow::{InFlight, QueryKey},
    slots::{GROUPS, Group, Slot, WAYS, group},
};

use crate::maps::add32;

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

    /// Ends the query with this key and frees its slot; `false` when somebody else
    /// did.
    #[inline(always)]
    pub(crate) fn end(self, key: &QueryKey) -> bool {
        // SAFETY: a live map value.
        unsafe {
            let endings = &raw mut (*self.0).endings;
            add32(endings, 1);
            if read_volatile(endings) != 1 {
                return false;
            }
            // Somebody may have ended it before, and the slot may be another query's.
            if differs_first(&raw const (*self.0).key, key) != 0 {
                add32(endings, MINUS_ONE);
                return false;
            }
            write_volatile(&raw mut (*self.0).key.client_port, 0);
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
pub(crate) fn find(key: &QueryKey) -> Option<Entry> {
    let group = TABLE.get_ptr_mut(group(key))?;
    let mut way = 0;
    while way < WAYS {
        // SAFETY: a live map value.
        unsafe {
            let slot = slot(group, way);
            if differs_first(&raw const (*slot).key, key) == 0
                && differs_then(&raw const (*slot).key, key) == 0
            {
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

/// Not 0 when the keys differ in what differs most: ports, id, role, transport.
/// Without branches between the words, of which the verifier would follow each.
///
/// # Safety
/// `stored` points into a live map value.
#[inline(always)]
unsafe fn differs_first(stored: *const QueryKey, key: &QueryKey) -> u32 {
    // SAFETY: see above.
    unsafe { differs(stored, key, PORTS) | differs(stored, key, PORTS + 1) }
}

/// Not 0 when the keys differ in their addresses or network namespace.
///
/// # Safety
/// `stored` points into a live map value.
#[inline(always)]
unsafe fn differs_then(stored: *const QueryKey, key: &QueryKey) -> u32 {
    let mut difference = 0;
    let mut word = 0;
    while word < WORDS {
        if word != PORTS && word != PORTS + 1 {
            // SAFETY: see above.
            difference |= unsafe { differs(stored, key, word) };
        }
        word += 1;
    }
    difference
}

/// The words of a key, and the first of the two with the ports and what follows.
const WORDS: usize = size_of::<QueryKey>() / 4;
const PORTS: usize = offset_of!(QueryKey, client_port) / 4;

/// # Safety
/// `stored` points into a live map value; `word` is below `WORDS`.
#[inline(always)]
unsafe fn differs(stored: *const QueryKey, key: &QueryKey, word: usize) -> u32 {
    const { assert!(size_of::<QueryKey>().is_multiple_of(4) && align_of::<QueryKey>() == 4) };
    // SAFETY: see above.
    unsafe {
        read_volatile(stored.cast::<u32>().add(word)) ^ *(&raw const *key).cast::<u32>().add(word)
    }
}

/// A slot for a query that is not in the table, filled in; `None` when its group
/// is full.
#[inline(always)]
pub(crate) fn claim(key: &QueryKey, query: &InFlight) -> Option<Entry> {
    let group = TABLE.get_ptr_mut(group(key))?;
    let mut way = 0;
    while way < WAYS {
        // SAFETY: a live map value.
        unsafe {
            let slot = slot(group, way);
            let claims = &raw mut (*slot).claims;
            if read_volatile(claims) == 0 {
                add32(claims, 1);
                if read_volatile(claims) == 1 {
                    (*slot).endings = 0;
                    (*slot).query = *query;
                    write_volatile(&raw mut (*slot).way, way as u32);
                    (*slot).key = *key;
                    return Some(any(group, slot));
                }
                add32(claims, MINUS_ONE);
            }
        }
        way += 1;
    }
    None
}
