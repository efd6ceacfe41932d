//! The queries in flight; how slots are shared is told in
//! `dnsprobe_common::slots`.

use core::ptr::{read_volatile, write_volatile};

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

    /// Ends the query and frees its slot; `false` when somebody else did.
    #[inline(always)]
    pub(crate) fn end(self) -> bool {
        // SAFETY: a live map value.
        unsafe {
            let endings = &raw mut (*self.0).endings;
            add32(endings, 1);
            if read_volatile(endings) != 1 {
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
            if is_same(&raw const (*slot).key, key) {
                return Some(Entry(slot));
            }
        }
        way += 1;
    }
    None
}

/// Compares what differs first.
///
/// # Safety
/// `stored` points into a live map value.
#[inline(always)]
unsafe fn is_same(stored: *const QueryKey, key: &QueryKey) -> bool {
    // SAFETY: see above.
    unsafe {
        (*stored).client_port == key.client_port
            && (*stored).id == key.id
            && (*stored).server_port == key.server_port
            && (*stored).role == key.role
            && (*stored).transport == key.transport
            && (*stored).client[3] == key.client[3]
            && (*stored).server[3] == key.server[3]
            && (*stored).netns == key.netns
            && (*stored).client[2] == key.client[2]
            && (*stored).client[1] == key.client[1]
            && (*stored).client[0] == key.client[0]
            && (*stored).server[2] == key.server[2]
            && (*stored).server[1] == key.server[1]
            && (*stored).server[0] == key.server[0]
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
                    (*slot).key = *key;
                    return Some(Entry(slot));
                }
                add32(claims, MINUS_ONE);
            }
        }
        way += 1;
    }
    None
}
