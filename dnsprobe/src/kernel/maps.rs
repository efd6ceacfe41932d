//! Typed access to the programs' maps.

use std::{
    collections::HashSet,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
};
use dnsprobe_common::{
    event::{Answer, Recent, Sent},
    flow::{QueryKey, Tuple},
    stats::{AGGREGATES, Health},
};

use super::{
    aggregates::{Aggregates, KernelPlaces, PLENTY},
    backends::Backends,
    in_flight::InFlightTable,
    session::SessionError,
    shared::SharedArray,
};
use crate::stats::{AggregateChanges, BackendQueries};

/// The maps of a loaded object.
pub(crate) struct Maps {
    pub(crate) events: RingBuf<MapData>,
    pub(crate) in_flight: InFlightTable,
    pub(crate) sent: HashMap<MapData, QueryKey, Sent>,
    pub(crate) flows: HashMap<MapData, Tuple, Recent>,
    pub(crate) answered: HashMap<MapData, QueryKey, Answer>,
    aggregates: Aggregates,
    backends: Backends,
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
            aggregates: Aggregates::new(
                KernelPlaces::take(map(ebpf, "STATS_PLACES")?, map(ebpf, "STATS_FREE")?)?,
                SharedArray::of(map(ebpf, "STATS")?, "STATS", AGGREGATES as usize)?,
                PLENTY,
            ),
            backends: Backends::take(map(ebpf, "BACKENDS")?)?,
            health: PerCpuArray::try_from(map(ebpf, "HEALTH")?)?,
        })
    }

    /// The programs' only variable: 1 once every hook is attached and new queries
    /// are to be followed.
    pub(crate) fn switch(ebpf: &mut Ebpf) -> Result<Array<MapData, u32>, SessionError> {
        Ok(Array::try_from(map(ebpf, ".bss")?)?)
    }

    /// What changed in the aggregates, see [`Aggregates::read`].
    pub(crate) fn aggregates(&mut self, now_ns: u64) -> io::Result<AggregateChanges> {
        let Self { aggregates, in_flight, .. } = self;
        aggregates.read(now_ns, || {
            let mut places = HashSet::new();
            in_flight.for_each(|_, query| {
                places.insert(query.stats);
            });
            places
        })
    }

    /// How many aggregates are not free.
    pub(crate) fn aggregates_in_use(&self) -> usize {
        self.aggregates.in_use()
    }

    /// Where queries to services left for.
    pub(crate) fn backends(&mut self, now_ns: u64) -> Vec<BackendQueries> {
        self.backends.read(now_ns)
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
