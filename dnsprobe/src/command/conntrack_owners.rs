//! Whose the entries of the conntrack table are, by the addresses of the pods
//! that have a network namespace of their own.

use std::{collections::HashMap, io, net::IpAddr, sync::Arc};

use super::NodePlaces;
use crate::{
    identity::{Owner, RunningContainer},
    kernel::{self, container},
    setup,
};

/// Entries by the pod that sent the first packet.
pub(super) struct ConntrackOwners {
    /// Most entries first.
    pub(super) owners: Vec<(Arc<Owner>, u64)>,
    /// Entries that are no pod's.
    pub(super) others: u64,
}

/// Reads the whole table; `None` where there is no conntrack.
pub(super) fn read(
    node: &NodePlaces,
    all: &[RunningContainer],
    host_netns: Option<u32>,
) -> io::Result<Option<ConntrackOwners>> {
    let Some(sources) = kernel::conntrack_sources()? else { return Ok(None) };
    let mut owners: HashMap<IpAddr, Arc<Owner>> = HashMap::new();
    for running in all.iter().filter(|running| Some(running.netns) != host_netns) {
        let Some(pid) = running.pids.first() else { continue };
        for address in container::local_addresses(&node.process(*pid)) {
            owners.insert(address, Arc::clone(&running.owner));
        }
    }
    let (owners, others) = setup::by_owner(&sources.by_address, &owners);
    Ok(Some(ConntrackOwners { owners, others: others + sources.beyond }))
}
