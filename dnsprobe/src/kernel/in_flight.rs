//! The table of queries in flight, as memory shared with the kernel programs; how
//! slots are shared is told in `dnsprobe_common::slots`.

use std::sync::atomic::{AtomicU32, Ordering, fence};

use aya::maps::Map;
use dnsprobe_common::{
    flow::{InFlight, QueryKey},
    slots::{GROUPS, Group, Slot, WAYS, group},
};

use super::{session::SessionError, shared::SharedArray};

/// The table, `GROUPS` groups of it.
pub(crate) struct InFlightTable(SharedArray<Group>);

impl InFlightTable {
    /// Maps the programs' table into this process.
    pub(crate) fn map(map: Map) -> Result<Self, SessionError> {
        const NAME: &str = "IN_FLIGHT";
        let table = SharedArray::of(map, NAME, GROUPS as usize)?;
        // All of it is swept anyway, so that later nothing can fail any more.
        for group in 0..GROUPS as usize {
            table.get(group).map_err(|source| SessionError::Table { name: NAME, source })?;
        }
        Ok(Self(table))
    }

    /// Sees every query in the table at one moment or another while this runs. Most
    /// groups are free, and passed over in a few instructions each.
    pub(crate) fn for_each(&self, mut see: impl FnMut(QueryKey, InFlight)) {
        for (groups, count) in self.0.mapped() {
            for group in 0..count {
                // SAFETY: in the mapping; a group is that many slots, and nothing else.
                let slots = unsafe { groups.add(group).cast::<Slot>() };
                // SAFETY: as above.
                let slots = (0..WAYS).map(|way| unsafe { slots.add(way) });
                // Asked once for all of them.
                if slots.clone().fold(0, |ports, slot| ports | port(slot)) == 0 {
                    continue;
                }
                for (key, query) in slots.filter_map(read) {
                    see(key, query);
                }
            }
        }
    }

    /// The query with this key.
    pub(crate) fn get(&self, key: &QueryKey) -> Option<InFlight> {
        let (_, query) = self.find(key)?;
        Some(query)
    }

    /// Ends the query with this key, sent at that time, and frees its slot; what it
    /// was like in the end. `None` when it is not there any more.
    pub(crate) fn end(&self, key: &QueryKey, start_ns: u64) -> Option<InFlight> {
        let (slot, query) = self.find(key)?;
        if query.start_ns != start_ns {
            return None;
        }
        // SAFETY: `slot` is in the mapping; both words are aligned, and the kernel
        // uses them by atomic additions too.
        let (endings, claims) = unsafe {
            (
                AtomicU32::from_ptr(&raw mut (*slot).endings),
                AtomicU32::from_ptr(&raw mut (*slot).claims),
            )
        };
        if endings.fetch_add(1, Ordering::AcqRel) != 0 {
            return None;
        }
        // Somebody may have ended it before, and the slot may be another query's.
        let (last_key, last) = read(slot)?;
        if last_key != *key || last.start_ns != start_ns {
            endings.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        // SAFETY: in the mapping, and ours until the claim is given up.
        unsafe { (&raw mut (*slot).key.client_port).write_volatile(0) };
        claims.fetch_sub(1, Ordering::AcqRel);
        Some(last)
    }

    fn find(&self, key: &QueryKey) -> Option<(*mut Slot, InFlight)> {
        self.slots(group(&key.words())).find_map(|slot| {
            let (found, query) = read(slot)?;
            (found == *key).then_some((slot, query))
        })
    }

    fn slots(&self, group: u32) -> impl Iterator<Item = *mut Slot> + use<> {
        self.0.get(group as usize).ok().flatten().into_iter().flat_map(|group| {
            // SAFETY: in the mapping; a group has that many slots.
            (0..WAYS).map(move |way| unsafe { (&raw mut (*group).slots).cast::<Slot>().add(way) })
        })
    }
}

/// The port of the query that is in a slot at this moment; 0: none is.
#[inline]
fn port(slot: *mut Slot) -> u16 {
    // SAFETY: `slot` is in the mapping, and any bytes are a port.
    unsafe { (&raw const (*slot).key.client_port).read_volatile() }
}

/// What a slot holds; `None` when it is free, or changed hands meanwhile.
fn read(slot: *mut Slot) -> Option<(QueryKey, InFlight)> {
    if port(slot) == 0 {
        return None;
    }
    // SAFETY: `slot` is in the mapping; any bytes are a valid key and query, and a
    // copy that was torn is told by the key.
    unsafe {
        let key = (&raw const (*slot).key).read_volatile();
        fence(Ordering::Acquire);
        let query = (&raw const (*slot).query).read_volatile();
        fence(Ordering::Acquire);
        let unchanged = (&raw const (*slot).key).read_volatile() == key;
        (unchanged && key.client_port != 0).then_some((key, query))
    }
}

const _: () = assert!(size_of::<Group>() == WAYS * size_of::<Slot>());

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: QueryKey = QueryKey {
        client: [0, 0, 0, 1],
        server: [0, 0, 0, 2],
        client_port: 40_000,
        server_port: 53,
        id: 7,
        role: 0,
        transport: 0,
        netns: 0,
        pad: 0,
    };

    /// A table with one query, in the third slot of its group.
    fn table(memory: &mut Vec<Group>) -> (InFlightTable, *mut Slot) {
        memory.resize(GROUPS as usize, Group::default());
        let slot = &mut memory[group(&KEY.words()) as usize].slots[2];
        *slot = Slot {
            claims: 1,
            key: KEY,
            way: 2,
            query: InFlight { start_ns: 5, ..InFlight::default() },
            ..Slot::default()
        };
        let slot: *mut Slot = slot;
        (InFlightTable(SharedArray::over(memory)), slot)
    }

    #[test]
    fn a_query_is_found_by_its_whole_key_in_any_slot_of_its_group() {
        let mut memory = Vec::new();
        let (table, _) = table(&mut memory);
        assert_eq!(table.get(&KEY).map(|query| query.start_ns), Some(5));
        assert_eq!(table.get(&QueryKey { netns: 1, ..KEY }), None);
        let mut seen = Vec::new();
        table.for_each(|key, _| seen.push(key));
        assert_eq!(seen, [KEY]);
    }

    #[test]
    fn a_query_ends_once_and_its_slot_is_free_then() {
        let mut memory = Vec::new();
        let (table, slot) = table(&mut memory);
        assert_eq!(table.end(&KEY, 4), None, "another query with the same key");
        assert_eq!(table.end(&KEY, 5).map(|query| query.start_ns), Some(5));
        assert_eq!(table.end(&KEY, 5), None);
        assert_eq!(table.get(&KEY), None);
        // SAFETY: in `memory`, which is still there.
        let slot = unsafe { slot.read_volatile() };
        assert_eq!((slot.claims, slot.key.client_port), (0, 0));
    }

    #[test]
    fn a_query_that_a_program_is_ending_is_left_to_it() {
        let mut memory = Vec::new();
        let (table, slot) = table(&mut memory);
        // SAFETY: in `memory`, which is still there.
        unsafe { (&raw mut (*slot).endings).write_volatile(1) };
        assert_eq!(table.end(&KEY, 5), None);
        // SAFETY: as above.
        assert_eq!(unsafe { (&raw const (*slot).claims).read_volatile() }, 1);
    }
}
