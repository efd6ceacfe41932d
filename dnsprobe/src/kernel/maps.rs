//! Typed access to the programs' maps.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
};
use dnsprobe_common::{
    event::{Answer, Recent, Sent},
    flow::{InFlight, QueryKey, Tuple},
    stats::{Health, Stats, StatsKey},
};

use super::session::SessionError;

/// The maps of a loaded object.
pub(crate) struct Maps {
    pub(crate) events: RingBuf<MapData>,
    pub(crate) in_flight: HashMap<MapData, QueryKey, InFlight>,
    pub(crate) sent: HashMap<MapData, QueryKey, Sent>,
    pub(crate) flows: HashMap<MapData, Tuple, Recent>,
    pub(crate) answered: HashMap<MapData, QueryKey, Answer>,
    pub(crate) stats: HashMap<MapData, StatsKey, Stats>,
    health: PerCpuArray<MapData, u64>,
}

impl Maps {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, SessionError> {
        Ok(Self {
            events: RingBuf::try_from(map(ebpf, "EVENTS")?)?,
            in_flight: HashMap::try_from(map(ebpf, "IN_FLIGHT")?)?,
            sent: HashMap::try_from(map(ebpf, "SENT")?)?,
            flows: HashMap::try_from(map(ebpf, "FLOWS")?)?,
            answered: HashMap::try_from(map(ebpf, "ANSWERED")?)?,
            stats: HashMap::try_from(map(ebpf, "STATS")?)?,
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
