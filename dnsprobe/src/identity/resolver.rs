//! The real [`Identify`]: this node's cgroups, processes and kubelet
//! directories, asked in the order cgroup, network namespace, nobody.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    CgroupAccess, Identify, IdentityOptions, Owner, OwnerKey, UnattributedReason,
    bounded::Bounded,
    cgroup::Cgroups,
    escape,
    names::Names,
    namespaces::Namespaces,
    placement::Placement,
    process::Processes,
    remote::{Remote, RemoteAddress, Remotes},
    retries,
};

/// Owners remembered by cgroup; the oldest is forgotten first. The kernel
/// never uses a cgroup id twice, so a known owner stays right for good.
const CGROUPS: usize = 8_192;
/// How long an owner that is not fully known is kept before asking again. A pod that
/// has a name is asked about less and less for what else may become known of it.
const RETRY_AFTER: Duration = retries::FIRST;
/// Files of runtimes read early for new containers, in one [`SCAN_INTERVAL`]. A
/// flood of containers is named when somebody asks for them, if it still can be.
const EARLY_READS: u32 = 400;
/// At most one look at every process in this time.
const SCAN_INTERVAL: Duration = Duration::from_secs(2);

/// Names owners by asking this node. Asks about each once and remembers, so a
/// pod deleted after it was first seen keeps its name.
#[derive(Debug)]
pub struct Identity {
    cgroups: Cgroups,
    pub(super) processes: Processes,
    pub(super) names: Names,
    namespaces: Namespaces,
    pub(super) remotes: Option<Remotes>,
    known: Bounded<u64, Known>,
    scanned_at: Option<Instant>,
    early: (Option<Instant>, u32),
}

#[derive(Debug)]
struct Known {
    owner: Arc<Owner>,
    /// When to ask again; `None`: never, the owner is fully known.
    retry_at: Option<Instant>,
    tries: u32,
}

impl Identity {
    /// Prepares to look in the given places. Never fails: without a cgroup
    /// hierarchy sockets are attributed by network namespace, see
    /// [`Identity::cgroup_access`].
    #[must_use]
    pub fn new(options: IdentityOptions) -> Self {
        let cgroups = Cgroups::open(options.cgroup_root, &options.proc_root);
        let processes = Processes::new(options.proc_root);
        let namespaces = Namespaces::new(processes.host_netns());
        Self {
            cgroups,
            processes,
            names: Names::new(options.log_dir, options.runtime_dirs),
            namespaces,
            remotes: None,
            known: Bounded::new(CGROUPS),
            scanned_at: None,
            early: (None, 0),
        }
    }

    /// Takes note of a cgroup that the kernel has just made, with its path below
    /// the root of the hierarchy. What the files say of a new container is read
    /// at once, because they may go before anybody asks for it.
    pub fn learn(&mut self, cgroup: u64, path: &str) {
        let now = Instant::now();
        self.cgroups.learn(cgroup, path);
        self.names.take_new();
        let placement = Placement::of(path);
        if matches!(placement, Placement::Pod { .. } | Placement::Container { .. })
            && let Some(remotes) = &mut self.remotes
        {
            remotes.expect_news();
        }
        match placement {
            Placement::Pod { uid, container: Some(id) } if self.may_read_early(now) => {
                self.names.look_up_in_pod(&uid, &id, now);
            }
            Placement::Container { id } if self.may_read_early(now) => self.names.look_up(&id, now),
            Placement::Pod { .. }
            | Placement::Container { .. }
            | Placement::Unit(_)
            | Placement::Nameless => {}
        }
    }

    fn may_read_early(&mut self, now: Instant) -> bool {
        let (since, reads) = &mut self.early;
        if since.is_none_or(|at| now.duration_since(at) >= SCAN_INTERVAL) {
            (*since, *reads) = (Some(now), 0);
        }
        *reads += 1;
        *reads <= EARLY_READS
    }

    /// Id of the cgroup in which processes go by their command; 0: there is
    /// none.
    #[must_use]
    pub fn root_cgroup(&self) -> u64 {
        self.cgroups.root_outside_pods()
    }

    /// How cgroup ids are looked up here, for `doctor`.
    #[must_use]
    pub fn cgroup_access(&self) -> &CgroupAccess {
        self.cgroups.access()
    }

    fn owner_at(&mut self, key: OwnerKey, now: Instant) -> Arc<Owner> {
        if self.cgroups.is_outside_pods(key.cgroup) {
            return self.by_process(key);
        }
        if self.cgroups.tells_nothing(key.cgroup) {
            return self.by_namespace(key, now);
        }
        let known = self.known.get(&key.cgroup);
        if let Some(known) = known
            && known.retry_at.is_none_or(|at| now < at)
        {
            return Arc::clone(&known.owner);
        }
        let (earlier, tries) = known.map(|known| (Arc::clone(&known.owner), known.tries)).unzip();
        let tries = tries.unwrap_or(0) + 1;
        let mut owner = Arc::new(self.by_cgroup(key, now));
        // What was known is not unlearned because the cgroup went away.
        if owner.is_unattributed()
            && let Some(earlier) = earlier.filter(|earlier| !earlier.is_unattributed())
        {
            owner = self.with_name(earlier, now);
        }
        let retry_at = retry_after(&owner, tries).map(|time| now + time);
        self.known.insert(key.cgroup, Known { owner: Arc::clone(&owner), retry_at, tries });
        // A pod in the host's namespace has told nothing about its neighbours.
        if key.netns != 0
            && key.tgid != 0
            && matches!(*owner, Owner::Pod { .. } | Owner::Container { .. })
            && !self.namespaces.is_host(key.netns)
        {
            self.namespaces.observe(key.netns, key.tgid, &owner, &self.processes);
        }
        owner
    }

    fn by_cgroup(&mut self, key: OwnerKey, now: Instant) -> Owner {
        let Some(path) = self.cgroups.path(key.cgroup, now) else {
            // Only a pod's or container's namespace is its own; that of host
            // processes is not.
            let pod = self.namespaces.living_owner(key.netns, &self.processes);
            return pod
                .filter(|owner| matches!(**owner, Owner::Pod { .. } | Owner::Container { .. }))
                .map_or(Owner::Unattributed { reason: UnattributedReason::CgroupGone }, |owner| {
                    Owner::clone(&owner)
                });
        };
        self.named(Placement::of(&path), key.tgid, now)
            .unwrap_or(Owner::Unattributed { reason: UnattributedReason::ProcessGone })
    }

    /// For processes that are in no group at all: each goes by its command,
    /// which the kernel recorded as it was when it used the socket.
    fn by_process(&self, key: OwnerKey) -> Arc<Owner> {
        let len = key.command.iter().position(|byte| *byte == 0).unwrap_or(key.command.len());
        let recorded = (len > 0).then(|| escape(&key.command[..len]));
        let owner = match recorded.or_else(|| self.processes.command(key.tgid)) {
            Some(name) => Owner::Host { name },
            None => Owner::Unattributed { reason: UnattributedReason::ProcessGone },
        };
        Arc::new(owner)
    }

    /// For sockets whose cgroup tells nothing: in the root cgroup, where every
    /// process is on hosts that place containers by cgroup v1.
    fn by_namespace(&mut self, key: OwnerKey, now: Instant) -> Arc<Owner> {
        let unattributed = |reason| Arc::new(Owner::Unattributed { reason });
        if key.netns == 0 {
            return unattributed(UnattributedReason::NoCgroup);
        }
        // Only a process that is in the namespace now can tell about it; its
        // number may have been used again since.
        if key.tgid != 0
            && !self.namespaces.knows(key.netns, key.tgid)
            && self.processes.netns(key.tgid) == Some(key.netns)
            && let Some(placement) = self.processes.placement(key.tgid)
            && let Some(owner) = self.named(placement, key.tgid, now)
        {
            self.namespaces.observe(key.netns, key.tgid, &Arc::new(owner), &self.processes);
        }
        if self.namespaces.owner(key.netns).is_none() {
            self.ask_neighbours(key.netns, now);
        }
        match self.namespaces.owner(key.netns) {
            Some(owner) => self.with_name(owner, now),
            None => unattributed(UnattributedReason::ProcessGone),
        }
    }

    /// Looks for processes that share the namespace with one that is gone: in
    /// a pod there is always one, and it names the pod. A host process says
    /// nothing about another.
    fn ask_neighbours(&mut self, netns: u32, now: Instant) {
        let due = self.scanned_at.is_none_or(|at| now.duration_since(at) >= SCAN_INTERVAL);
        if !due || self.namespaces.is_host(netns) {
            return;
        }
        self.scanned_at = Some(now);
        for tgid in self.processes.in_netns(netns) {
            if let Some(placement @ (Placement::Pod { .. } | Placement::Container { .. })) =
                self.processes.placement(tgid)
                && let Some(owner) = self.named(placement, tgid, now)
            {
                self.namespaces.observe(netns, tgid, &Arc::new(owner), &self.processes);
            }
        }
    }

    /// The same owner with the pod's name, if it has become known.
    fn with_name(&mut self, owner: Arc<Owner>, now: Instant) -> Arc<Owner> {
        if let Owner::Pod { pod: None, uid, container, .. } = &*owner {
            return Arc::new(self.names.pod(uid.clone(), container.clone(), now));
        }
        owner
    }

    /// The owner that a placement stands for; `None` when only the process
    /// could tell and it is gone.
    pub(super) fn named(&mut self, placement: Placement, tgid: u32, now: Instant) -> Option<Owner> {
        match placement {
            Placement::Pod { uid, container } => Some(self.names.pod(uid, container, now)),
            Placement::Container { id } => Some(self.names.container(id, now)),
            Placement::Unit(name) => Some(Owner::Host { name }),
            Placement::Nameless => self.processes.command(tgid).map(|name| Owner::Host { name }),
        }
    }
}

/// How long until an owner is asked about again; `None`: never, because there is
/// nothing more to know or it did not become known.
fn retry_after(owner: &Owner, tries: u32) -> Option<Duration> {
    let complete = match owner {
        Owner::Host { .. } | Owner::Container { name: Some(_), .. } => true,
        Owner::Pod { pod: Some(_), container, details, .. } => {
            container.is_none() || details.container_name.is_some()
        }
        Owner::Pod { pod: None, .. } | Owner::Unattributed { .. } => return Some(RETRY_AFTER),
        Owner::Container { name: None, .. } => false,
    };
    if complete { None } else { retries::wait_after(tries) }
}

impl Identify for Identity {
    fn owner(&mut self, key: OwnerKey) -> Arc<Owner> {
        self.owner_at(key, Instant::now())
    }

    fn remote(&mut self, asked: RemoteAddress) -> Option<Arc<Remote>> {
        self.remote_at(&asked)
    }
}

#[cfg(test)]
mod tests;
