//! Adds up kernel readings and decided losses per owner, role and server.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use dnsprobe_common::{
    flow::{Address, Role, command_bytes},
    stats::{Stats, StatsKey},
};

use super::{
    AggregateChanges, Completeness, PodCounts, ServerCounts, Snapshot,
    tally::{Growth, Tally},
};
use crate::{
    engine::Cause,
    identity::{Identify, Owner, OwnerKey, Remote, RemoteAddress, UnattributedReason},
    time::Timestamp,
};

/// Owners and roles kept at once. Beyond it one idle for long makes room, or
/// the new one is counted as unattributed.
const OWNERS: usize = 2_048;
/// Without traffic for this long, and for a whole window, an owner may make room when
/// there is no more. So a hundred new owners a second find room, and what they did is
/// seen by whoever looks as often as this.
const IDLE: Duration = Duration::from_secs(20);
/// The same when this share of all owners is there: pods that left take no memory for
/// long.
const LONG_IDLE: Duration = Duration::from_secs(60);
const MANY: usize = OWNERS / 4;
/// Servers told apart per owner and role; the rest counts for the owner only.
const SERVERS: usize = 16;

/// The running sums of every owner.
#[derive(Debug)]
pub struct PodStats {
    /// See [`OWNERS`].
    owners: usize,
    rows: HashMap<(Arc<Owner>, Role), Row>,
    /// The last reading of each kernel aggregate.
    readings: HashMap<StatsKey, Box<Stats>>,
    /// When the last window ended, since the start.
    since: Duration,
}

#[derive(Debug)]
struct Row {
    owner: Arc<Owner>,
    /// The owner's.
    label: String,
    window: Tally,
    total: Tally,
    /// In flight when the window began.
    carried_in: u64,
    /// A list: nearly all owners have one or two, and a map takes room for eleven.
    servers: Vec<(SocketAddr, Server)>,
    /// When the last window before the one that saw anything of it ended.
    active: Duration,
}

#[derive(Debug, Default)]
struct Server {
    total: Tally,
    remote: Option<Arc<Remote>>,
}

impl PodStats {
    /// Empty sums.
    #[must_use]
    pub fn new() -> Self {
        Self::with_owners(OWNERS)
    }

    /// Empty sums that keep this many owners and roles at once.
    pub(super) fn with_owners(owners: usize) -> Self {
        Self { owners, rows: HashMap::new(), readings: HashMap::new(), since: Duration::ZERO }
    }

    /// Adds what happened since the previous reading of the kernel's aggregates.
    ///
    /// One whose queries went back was started anew in the kernel (in recordings of
    /// earlier versions, which do not tell otherwise): all it counts now is new.
    pub fn read(&mut self, changes: AggregateChanges, identify: &mut dyn Identify) {
        for (key, now) in changes.changed {
            let tgid = now.tgid;
            let growth = match self.readings.entry(key) {
                Entry::Occupied(mut known) => {
                    // An idle aggregate asks nobody and keeps no owner alive.
                    if *known.get() == now {
                        continue;
                    }
                    let before = known.insert(now);
                    let before = (before.queries <= known.get().queries).then_some(before);
                    Growth::between(known.get(), before.as_deref())
                }
                Entry::Vacant(new) => Growth::between(new.insert(now), None),
            };
            let owner = identify.owner(OwnerKey {
                cgroup: key.cgroup,
                netns: key.netns,
                tgid,
                command: command_bytes(key.command),
            });
            let role = if key.role == Role::Server as u8 { Role::Server } else { Role::Client };
            let server = socket_address(&key.server, key.server_port);
            self.tally(&owner, role, Some(server), |tally| tally.add(&growth));
            if role == Role::Client {
                let at_ns = RemoteAddress::NOW;
                let asked = RemoteAddress { netns: key.netns, address: server, at_ns };
                let remote = identify.remote(asked);
                if let Some(server) = self.row(&owner, role).server(server) {
                    server.remote = remote;
                }
            }
        }
        for key in &changes.given_back {
            self.readings.remove(key);
        }
    }

    /// Counts a lost query. Here as below, `server` is the address that was
    /// asked; without one, only the owner's sums grow.
    pub fn lost(
        &mut self,
        owner: &Arc<Owner>,
        role: Role,
        server: impl Into<Option<SocketAddr>>,
        cause: Cause,
    ) {
        self.tally(owner, role, server.into(), |tally| *tally.lost.entry(cause).or_default() += 1);
    }

    /// Counts a near miss.
    pub fn near_miss(
        &mut self,
        owner: &Arc<Owner>,
        role: Role,
        server: impl Into<Option<SocketAddr>>,
        cause: Cause,
    ) {
        self.tally(owner, role, server.into(), |tally| {
            *tally.near_misses.entry(cause).or_default() += 1
        });
    }

    /// Counts queries that are not followed any further, beyond those that the
    /// kernel's readings already name.
    pub fn not_followed(
        &mut self,
        owner: &Arc<Owner>,
        role: Role,
        server: impl Into<Option<SocketAddr>>,
        count: u32,
    ) {
        self.tally(owner, role, server.into(), |tally| tally.not_followed += i64::from(count));
    }

    /// Counts a query that the kernel's readings do not hold: it was seen only
    /// as it was dropped.
    pub fn add_query(
        &mut self,
        owner: &Arc<Owner>,
        role: Role,
        server: impl Into<Option<SocketAddr>>,
    ) {
        self.tally(owner, role, server.into(), |tally| tally.queries += 1);
    }

    /// The kernel's aggregates begin at zero again, and what was in flight is not
    /// followed any further.
    pub fn begin_anew(&mut self) {
        self.readings.clear();
        for row in self.rows.values_mut() {
            let left = row.total.in_flight().cast_signed();
            row.total.not_followed += left;
            row.window.not_followed += left;
            for (_, server) in &mut row.servers {
                server.total.not_followed += server.total.in_flight().cast_signed();
            }
        }
    }

    /// Ends the window: what it added up to, and the totals. Fills in the
    /// unattributed queries of `completeness`, and leaves the node to the caller.
    pub fn snapshot(
        &mut self,
        time: Timestamp,
        window: Duration,
        since: Duration,
        mut completeness: Completeness,
    ) -> Snapshot {
        let (window_seconds, since_seconds) = (window.as_secs_f64(), since.as_secs_f64());
        // Sorted before they are closed: what they become is large.
        let mut rows: Vec<(Role, &mut Row)> =
            self.rows.iter_mut().map(|((_, role), row)| (*role, row)).collect();
        rows.sort_unstable_by(|(role, row), (other_role, other)| {
            (&row.label, &row.owner, role).cmp(&(&other.label, &other.owner, other_role))
        });
        let close = |(role, row): (Role, &mut Row)| row.close(role, window_seconds, since_seconds);
        let pods: Vec<PodCounts> = rows.into_iter().map(close).collect();
        self.since = since;
        completeness.unattributed.clear();
        for pod in &pods {
            if let Owner::Unattributed { reason } = *pod.owner
                && pod.total.queries > 0
            {
                *completeness.unattributed.entry(reason).or_default() += pod.total.queries;
            }
        }
        completeness.unattributed_queries = completeness.unattributed.values().sum();
        Snapshot { time, node: None, window_seconds, since_seconds, pods, completeness }
    }

    /// Applies a change to all sums it belongs to.
    fn tally(
        &mut self,
        owner: &Arc<Owner>,
        role: Role,
        address: Option<SocketAddr>,
        change: impl Fn(&mut Tally),
    ) {
        let row = self.row(owner, role);
        change(&mut row.window);
        change(&mut row.total);
        if let Some(server) = address.and_then(|address| row.server(address)) {
            change(&mut server.total);
        }
    }

    fn row(&mut self, owner: &Arc<Owner>, role: Role) -> &mut Row {
        let mut key = (Arc::clone(owner), role);
        if !self.rows.contains_key(&key) {
            if self.rows.len() >= self.owners {
                if !self.make_room(IDLE) {
                    let reason = UnattributedReason::TooManyOwners;
                    key.0 = Arc::new(Owner::Unattributed { reason });
                }
            } else if self.rows.len() >= MANY {
                self.make_room(LONG_IDLE);
            }
        }
        let since = self.since;
        let owner = Arc::clone(&key.0);
        let row = self.rows.entry(key).or_insert_with(|| Row::new(Arc::clone(&owner)));
        row.active = since;
        row.meet(&owner);
        row
    }

    /// Forgets the owner that has been idle longest, if for so long.
    fn make_room(&mut self, idle: Duration) -> bool {
        let oldest = self.rows.iter().min_by_key(|(_, row)| row.active);
        let Some((key, row)) = oldest else { return false };
        if self.since.saturating_sub(row.active) <= idle {
            return false;
        }
        let key = key.clone();
        self.rows.remove(&key).is_some()
    }
}

impl Default for PodStats {
    fn default() -> Self {
        Self::new()
    }
}

impl Row {
    fn new(owner: Arc<Owner>) -> Self {
        Self {
            label: owner.to_string(),
            owner,
            window: Tally::default(),
            total: Tally::default(),
            carried_in: 0,
            servers: Vec::new(),
            active: Duration::ZERO,
        }
    }

    /// Takes over what another sight of the same owner adds: names once they are
    /// known, and that more than one container is active.
    fn meet(&mut self, other: &Arc<Owner>) {
        if Arc::ptr_eq(&self.owner, other) {
            return;
        }
        let (
            Owner::Pod { pod, container, details, .. },
            Owner::Pod { pod: new_pod, container: new, details: new_details, .. },
        ) = (&*self.owner, &**other)
        else {
            // A container outside pods is only ever named anew.
            if let Owner::Container { name: Some(_), .. } = **other {
                self.rename(Arc::clone(other));
            }
            return;
        };
        let several = container.is_some() && container != new;
        let one = !several && container == new;
        let adds = (pod.is_none() && new_pod.is_some())
            || (details.workload.is_none() && new_details.workload.is_some())
            || (one && details.container_name.is_none() && new_details.container_name.is_some());
        if !adds && !several {
            return;
        }
        let keep = if several {
            (None, None)
        } else {
            let name = new_details.container_name.as_ref().filter(|_| one);
            (container.clone(), name.or(details.container_name.as_ref()).cloned())
        };
        let mut owner = Owner::clone(if adds { other } else { &self.owner });
        if let Owner::Pod { container, details, .. } = &mut owner {
            (*container, details.container_name) = keep;
        }
        self.rename(Arc::new(owner));
    }

    fn rename(&mut self, owner: Arc<Owner>) {
        self.label = owner.to_string();
        self.owner = owner;
    }

    fn server(&mut self, address: SocketAddr) -> Option<&mut Server> {
        let known = self.servers.iter().position(|(known, _)| *known == address);
        let place = match known {
            Some(place) => place,
            None if self.servers.len() >= SERVERS => return None,
            None => {
                self.servers.push((address, Server::default()));
                self.servers.len() - 1
            }
        };
        Some(&mut self.servers[place].1)
    }

    fn close(&mut self, role: Role, window_seconds: f64, since_seconds: f64) -> PodCounts {
        let window = std::mem::take(&mut self.window);
        let in_flight = self.total.in_flight();
        let carried_in = std::mem::replace(&mut self.carried_in, in_flight);
        let mut servers: Vec<ServerCounts> = self
            .servers
            .iter()
            .map(|(address, server)| ServerCounts {
                server: *address,
                remote: server.remote.clone(),
                total: server.total.counts(since_seconds, server.total.in_flight(), 0),
            })
            .collect();
        servers.sort_by_key(|server| (std::cmp::Reverse(server.total.queries), server.server));
        PodCounts {
            owner: Arc::clone(&self.owner),
            role,
            window: window.counts(window_seconds, in_flight, carried_in),
            total: self.total.counts(since_seconds, in_flight, 0),
            latency: self.total.latency.buckets(),
            read_delay: self.total.read_delay.buckets(),
            servers,
        }
    }
}

/// The socket address in a kernel key.
fn socket_address(address: &Address, port: u16) -> SocketAddr {
    let mut bytes = [0; 16];
    for (four, word) in bytes.chunks_exact_mut(4).zip(address) {
        four.copy_from_slice(&word.to_ne_bytes());
    }
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical(), port)
}
