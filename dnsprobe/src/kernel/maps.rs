//! Typed access to the programs' maps.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    sync::atomic::{Ordering, fence},
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
};
use dnsprobe_common::{
    event::{Answer, Recent, Sent},
    flow::{QueryKey, Tuple},
    stats::{AGGREGATES, Health, Stats, StatsKey, StatsSlot},
};

use super::{in_flight::InFlightTable, session::SessionError, shared::SharedArray};

/// The maps of a loaded object.
pub(crate) struct Maps {
    pub(crate) events: RingBuf<MapData>,
    pub(crate) in_flight: InFlightTable,
    pub(crate) sent: HashMap<MapData, QueryKey, Sent>,
    pub(crate) flows: HashMap<MapData, Tuple, Recent>,
    pub(crate) answered: HashMap<MapData, QueryKey, Answer>,
    stats_places: HashMap<MapData, StatsKey, u32>,
    stats: SharedArray<StatsSlot>,
    health: PerCpuArray<MapData, u64>,
}

impl Maps {
    /// The ring buffer of new cgroups.
    pub(crate) fn cgroups(ebpf: &mut Ebpf) -> Result<RingBuf<MapData>, SessionError> {
        Ok(RingBuf::try_from(map(ebpf, "CGROUPS")?)?)
    }

    /// The ring buffer of captured packets.
    pub(crate) fn packets(ebpf: &mut Ebpf) -> Result<RingBuf<MapData>, SessionError> {
        Ok(RingBuf::try_from(map(ebpf, "PACKETS")?)?)
    }

    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, SessionError> {
        Ok(Self {
            events: RingBuf::try_from(map(ebpf, "EVENTS")?)?,
            in_flight: InFlightTable::map(map(ebpf, "IN_FLIGHT")?)?,
            sent: HashMap::try_from(map(ebpf, "SENT")?)?,
            flows: HashMap::try_from(map(ebpf, "FLOWS")?)?,
            answered: HashMap::try_from(map(ebpf, "ANSWERED")?)?,
            stats_places: HashMap::try_from(map(ebpf, "STATS_PLACES")?)?,
            stats: SharedArray::of(map(ebpf, "STATS")?, "STATS", AGGREGATES as usize)?,
            health: PerCpuArray::try_from(map(ebpf, "HEALTH")?)?,
        })
    }

    /// The programs' only variable: 1 once every hook is attached and new queries
    /// are to be followed.
    pub(crate) fn switch(ebpf: &mut Ebpf) -> Result<Array<MapData, u32>, SessionError> {
        Ok(Array::try_from(map(ebpf, ".bss")?)?)
    }

    /// Every aggregate so that no answer is in it whose query is not: the programs
    /// count on meanwhile, so answers are taken first and queries afterwards.
    ///
    /// # Errors
    /// When there is no room for their memory in this process.
    pub(crate) fn aggregates(&self) -> io::Result<Vec<(StatsKey, Box<Stats>)>> {
        let places = self.stats_places.iter().filter_map(Result::ok);
        places
            .filter_map(|(key, place)| Some(self.aggregate(place).transpose()?.map(|it| (key, it))))
            .collect()
    }

    fn aggregate(&self, place: u32) -> io::Result<Option<Box<Stats>>> {
        let Some(slot) = self.stats.get(place as usize)? else { return Ok(None) };
        let mut stats = Box::<Stats>::new_uninit();
        // SAFETY: `slot` is in the mapping and its counters are plain numbers, of
        // which any bits are valid; copied once, because there are thousands. The
        // queries are read after everything else.
        unsafe {
            let shared = &raw const (*slot).stats;
            shared.copy_to_nonoverlapping(stats.as_mut_ptr(), 1);
            fence(Ordering::Acquire);
            (*stats.as_mut_ptr()).queries = (&raw const (*shared).queries).read_volatile();
            Ok(Some(stats.assume_init()))
        }
    }

    /// A health counter over all processors.
    pub(crate) fn health(&self, what: Health) -> u64 {
        self.health.get(&(what as u32), 0).map_or(0, |values| values.iter().sum())
    }
}

impl AsFd for Maps {
    /// The ring buffer's, readable when there are events.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

impl AsRawFd for Maps {
    fn as_raw_fd(&self) -> RawFd {
        self.events.as_raw_fd()
    }
}

fn map(ebpf: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, SessionError> {
    ebpf.take_map(name).ok_or(SessionError::Object(name))
}
