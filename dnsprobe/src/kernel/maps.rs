//! Typed access to the programs' maps.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
};
use dnsprobe_common::{
    event::{Answer, Recent, Sent},
    flow::{QueryKey, Tuple},
    stats::{Health, Stats, StatsKey, StatsSlot},
};

use super::{in_flight::InFlightTable, session::SessionError};

/// The maps of a loaded object.
pub(crate) struct Maps {
    pub(crate) events: RingBuf<MapData>,
    pub(crate) in_flight: InFlightTable,
    pub(crate) sent: HashMap<MapData, QueryKey, Sent>,
    pub(crate) flows: HashMap<MapData, Tuple, Recent>,
    pub(crate) answered: HashMap<MapData, QueryKey, Answer>,
    stats_places: HashMap<MapData, StatsKey, u32>,
    stats: Array<MapData, StatsSlot>,
    health: PerCpuArray<MapData, u64>,
}

impl Maps {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, SessionError> {
        Ok(Self {
            events: RingBuf::try_from(map(ebpf, "EVENTS")?)?,
            in_flight: InFlightTable::map(map(ebpf, "IN_FLIGHT")?)?,
            sent: HashMap::try_from(map(ebpf, "SENT")?)?,
            flows: HashMap::try_from(map(ebpf, "FLOWS")?)?,
            answered: HashMap::try_from(map(ebpf, "ANSWERED")?)?,
            stats_places: HashMap::try_from(map(ebpf, "STATS_PLACES")?)?,
            stats: Array::try_from(map(ebpf, "STATS")?)?,
            health: PerCpuArray::try_from(map(ebpf, "HEALTH")?)?,
        })
    }

    /// Tells the programs that every hook is attached; from now on they follow
    /// queries.
    pub(crate) fn watch(ebpf: &mut Ebpf) -> Result<(), SessionError> {
        let variables = map(ebpf, ".bss")?;
        Array::<_, u32>::try_from(variables)?.set(0, 1, 0)?;
        Ok(())
    }

    /// Every aggregate so that no answer is in it whose query is not: the programs
    /// count on meanwhile, so answers are taken from a first reading and queries
    /// from a second one.
    pub(crate) fn aggregates(&self) -> Vec<(StatsKey, Stats)> {
        let places: Vec<(StatsKey, u32)> =
            self.stats_places.iter().filter_map(Result::ok).collect();
        let read = |place: u32| self.stats.get(&place, 0).ok();
        let mut all: Vec<(StatsKey, u32, Stats)> = places
            .into_iter()
            .filter_map(|(key, place)| Some((key, place, read(place)?.stats)))
            .collect();
        for (_, place, stats) in &mut all {
            if let Some(later) = read(*place) {
                stats.queries = later.stats.queries;
            }
        }
        all.into_iter().map(|(key, _, stats)| (key, stats)).collect()
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
