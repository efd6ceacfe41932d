//! Network namespaces of pods and containers, each known by one process in it.

use std::{collections::BTreeMap, fs, net::IpAddr};

use crate::identity::{IdentityOptions, placement::Placement, process::Processes};

/// Namespaces looked at; a node has a few hundred pods.
const HOLDERS: usize = 4_096;
/// Addresses kept of each.
const ADDRESSES: usize = 32;
/// Clock ticks in which `/proc` counts, per second (`USER_HZ`, the same on every
/// architecture that Linux and BPF have in common).
const TICKS_PER_SECOND: u64 = 100;
/// A namespace has its address some time after its first process, where the
/// runtime starts that one first.
const SETTLING_NS: u64 = 2_000_000_000;

/// Whoever has a network namespace of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The namespace's inode.
    pub netns: u32,
    /// Its oldest process.
    pub pid: u32,
    /// Since when it has had its addresses, kernel nanoseconds.
    pub since_ns: u64,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Whose it is.
    pub(in crate::identity) who: Who,
}

/// A pod or a container, by what its cgroup says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::identity) enum Who {
    /// A pod's UID.
    Pod(String),
    /// The id of a container outside pods.
    Container(String),
}

impl Holder {
    /// Whether it held its addresses at a moment, given that it lives still.
    pub(in crate::identity) const fn held_at(&self, at_ns: u64) -> bool {
        at_ns >= self.since_ns
    }
}

/// Every namespace of pods and containers but the node's own; a look at every
/// process. `addresses` reads those of a process's namespace.
#[must_use]
pub fn holders(
    options: &IdentityOptions,
    mut addresses: impl FnMut(u32) -> Vec<IpAddr>,
) -> Vec<Holder> {
    let processes = Processes::new(options.proc_root.clone());
    let host = processes.host_netns();
    // `None`: shared by several.
    let mut found: BTreeMap<u32, Option<Holder>> = BTreeMap::new();
    for pid in processes.all() {
        let Some(netns) = processes.netns(pid).filter(|netns| Some(*netns) != host) else {
            continue;
        };
        let who = match processes.placement(pid) {
            Some(Placement::Pod { uid, .. }) => Who::Pod(uid),
            Some(Placement::Container { id }) => Who::Container(id),
            Some(Placement::Unit(_) | Placement::Nameless) | None => continue,
        };
        let Some(since_ns) = started_ns(&processes, pid) else { continue };
        let room = found.len() < HOLDERS;
        match found.get_mut(&netns) {
            Some(Some(holder)) if holder.who == who => {
                let oldest = (holder.since_ns, holder.pid).min((since_ns, pid));
                (holder.since_ns, holder.pid) = oldest;
            }
            Some(shared) => *shared = None,
            None if room => {
                let holder = Holder { netns, pid, since_ns, addresses: Vec::new(), who };
                found.insert(netns, Some(holder));
            }
            None => {}
        }
    }
    let mut holders: Vec<Holder> = found.into_values().flatten().collect();
    for holder in &mut holders {
        holder.addresses = addresses(holder.pid);
        holder.addresses.truncate(ADDRESSES);
        holder.since_ns = holder.since_ns.saturating_add(SETTLING_NS);
    }
    holders
}

/// When a process started, in nanoseconds since the machine did: field 22 of
/// `/proc/PID/stat`. Kernel time may be behind that where the machine slept, so
/// that this is never too early.
fn started_ns(processes: &Processes, pid: u32) -> Option<u64> {
    let text = fs::read_to_string(processes.root().join(format!("{pid}/stat"))).ok()?;
    // The command in brackets may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let ticks: u64 = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(ticks.saturating_add(1).saturating_mul(1_000_000_000 / TICKS_PER_SECOND))
}
