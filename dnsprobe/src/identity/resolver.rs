//! The real [`Identify`]: this node's cgroups, processes and kubelet
//! directories, asked in the order cgroup, network namespace, nobody.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    CgroupAccess, Identify, Owner, OwnerKey, UnattributedReason,
    bounded::Bounded,
    cgroup::Cgroups,
    escape,
    namespaces::Namespaces,
    placement::Placement,
    pod_logs::{PodLogs, PodName},
    process::Processes,
};

/// Owners remembered by cgroup; the oldest is forgotten first. The kernel
/// never uses a cgroup id twice, so a known owner stays right for good.
const CGROUPS: usize = 8_192;
/// How long an owner that is not fully known is kept before asking again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// At most one look at every process in this time.
const SCAN_INTERVAL: Duration = Duration::from_secs(2);

/// Where to look.
#[derive(Clone, Debug)]
pub struct IdentityOptions {
    /// Kubelet's pod log directories, `/var/log/pods` on a node.
    pub log_dir: PathBuf,
    /// The cgroup2 mount; `None`: as the mount table says.
    pub cgroup_root: Option<PathBuf>,
    /// The host's process directory, `/proc` on a node.
    pub proc_root: PathBuf,
}

/// Names owners by asking this node. Asks about each once and remembers, so a
/// pod deleted after it was first seen keeps its name.
#[derive(Debug)]
pub struct Identity {
    cgroups: Cgroups,
    pub(super) processes: Processes,
    logs: PodLogs,
    namespaces: Namespaces,
    known: Bounded<u64, Known>,
    scanned_at: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    owner: Arc<Owner>,
    /// When to ask again; `None`: never, the owner is fully known.
    retry_at: Option<Instant>,
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
            logs: PodLogs::new(options.log_dir),
            namespaces,
            known: Bounded::new(CGROUPS),
            scanned_at: None,
        }
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
        let earlier = known.map(|known| Arc::clone(&known.owner));
        let mut owner = Arc::new(self.by_cgroup(key, now));
        // What was known is not unlearned because the cgroup went away.
        if owner.is_unattributed()
            && let Some(earlier) = earlier.filter(|earlier| !earlier.is_unattributed())
        {
            owner = self.with_name(earlier, now);
        }
        let settled = matches!(*owner, Owner::Pod { pod: Some(_), .. } | Owner::Host { .. });
        let retry_at = (!settled).then(|| now + RETRY_AFTER);
        self.known.insert(key.cgroup, Known { owner: Arc::clone(&owner), retry_at });
        // A pod in the host's namespace has told nothing about its neighbours.
        if key.netns != 0
            && key.tgid != 0
            && matches!(*owner, Owner::Pod { .. })
            && !self.namespaces.is_host(key.netns)
        {
            self.namespaces.observe(key.netns, key.tgid, &owner, &self.processes);
        }
        owner
    }

    fn by_cgroup(&mut self, key: OwnerKey, now: Instant) -> Owner {
        let Some(path) = self.cgroups.path(key.cgroup, now) else {
            // Only a pod's namespace is its own; that of host processes is not.
            let pod = self.namespaces.owner(key.netns);
            return pod
                .filter(|owner| matches!(**owner, Owner::Pod { .. }))
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
            if let Some(placement @ Placement::Pod { .. }) = self.processes.placement(tgid)
                && let Some(owner) = self.named(placement, tgid, now)
            {
                self.namespaces.observe(netns, tgid, &Arc::new(owner), &self.processes);
            }
        }
    }

    /// The same owner with the pod's name, if it has become known.
    fn with_name(&mut self, owner: Arc<Owner>, now: Instant) -> Arc<Owner> {
        if let Owner::Pod { pod: None, uid, container, .. } = &*owner
            && let Some(PodName { namespace, pod }) = self.logs.name(uid, now)
        {
            return Arc::new(Owner::Pod {
                namespace: Some(namespace),
                pod: Some(pod),
                container: container.clone(),
                uid: uid.clone(),
            });
        }
        owner
    }

    /// The owner that a placement stands for; `None` when only the process
    /// could tell and it is gone.
    pub(super) fn named(&mut self, placement: Placement, tgid: u32, now: Instant) -> Option<Owner> {
        match placement {
            Placement::Pod { uid, container } => {
                let (namespace, pod) =
                    self.logs.name(&uid, now).map(|name| (name.namespace, name.pod)).unzip();
                Some(Owner::Pod { namespace, pod, container, uid })
            }
            Placement::Unit(name) => Some(Owner::Host { name }),
            Placement::Nameless => self.processes.command(tgid).map(|name| Owner::Host { name }),
        }
    }
}

impl Identify for Identity {
    fn owner(&mut self, key: OwnerKey) -> Arc<Owner> {
        self.owner_at(key, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt};

    use super::*;
    use crate::identity::testing::{FakeProc, TempDir};

    const HOST_NETNS: u32 = 4026531840;
    const POD_NETNS: u32 = 4026532000;
    const UID: &str = "0f3a1b2c-1111-2222-3333-444455556666";

    struct Node {
        cgroups: TempDir,
        logs: TempDir,
        proc: FakeProc,
        identity: Identity,
        start: Instant,
    }

    impl Node {
        fn new() -> Self {
            let (cgroups, logs, proc) = (TempDir::new(), TempDir::new(), FakeProc::new());
            proc.add(1, HOST_NETNS, b"init\n", "0::/init.scope\n");
            let identity = Identity::new(IdentityOptions {
                log_dir: logs.path().to_owned(),
                cgroup_root: Some(cgroups.path().to_owned()),
                proc_root: proc.path().to_owned(),
            });
            Self { cgroups, logs, proc, identity, start: Instant::now() }
        }

        fn cgroup(&self, path: &str) -> u64 {
            let path = self.cgroups.path().join(path);
            fs::create_dir_all(&path).unwrap();
            fs::metadata(path).unwrap().ino()
        }

        fn log(&self, name: &str) {
            fs::create_dir(self.logs.path().join(name)).unwrap();
        }

        /// The label after some seconds.
        fn label(&mut self, seconds: u64, cgroup: u64, netns: u32, tgid: u32) -> String {
            let key = OwnerKey { cgroup, netns, tgid, command: [0; 16] };
            self.identity.owner_at(key, self.start + Duration::from_secs(seconds)).to_string()
        }
    }

    #[test]
    fn pods_are_found_with_all_their_processes() {
        let mut node = Node::new();
        node.log(&format!("shop_cart-0_{UID}"));
        let cgroup = |uid: &str| format!("0::/kubepods/burstable/pod{uid}\n");
        node.proc.add(70, POD_NETNS, b"app\n", &cgroup(UID));
        node.proc.add(69, POD_NETNS, b"pause\n", &cgroup(UID));
        node.proc.add(71, POD_NETNS + 1, b"app\n", &cgroup("u-2"));
        for (pid, mounts) in [(69, 1), (70, 2), (71, 3)] {
            let link = node.proc.path().join(format!("{pid}/ns/mnt"));
            std::os::unix::fs::symlink(format!("mnt:[{mounts}]"), link).unwrap();
        }
        let pods = node.identity.pods();
        let told: Vec<_> =
            pods.iter().map(|pod| (pod.owner.to_string(), pod.processes.clone())).collect();
        assert_eq!(
            told,
            [("pod/u-2".to_owned(), vec![71]), ("shop/cart-0".to_owned(), vec![69, 70])]
        );
    }

    #[test]
    fn a_pod_keeps_its_name_after_it_was_deleted() {
        let mut node = Node::new();
        let id = node.cgroup(&format!("kubepods/burstable/pod{UID}"));
        node.log(&format!("shop_cart-0_{UID}"));
        assert_eq!(node.label(0, id, POD_NETNS, 0), "shop/cart-0");
        fs::remove_dir_all(node.cgroups.path().join("kubepods")).unwrap();
        fs::remove_dir_all(node.logs.path()).unwrap();
        assert_eq!(node.label(3600, id, POD_NETNS, 0), "shop/cart-0");
    }

    #[test]
    fn a_pod_without_a_log_directory_goes_by_its_uid_until_it_has_one() {
        let mut node = Node::new();
        let id = node.cgroup(&format!("kubepods/pod{UID}"));
        assert_eq!(node.label(0, id, POD_NETNS, 0), format!("pod/{UID}"));
        node.log(&format!("shop_cart-0_{UID}"));
        assert_eq!(node.label(0, id, POD_NETNS, 0), format!("pod/{UID}"));
        assert_eq!(node.label(2, id, POD_NETNS, 0), "shop/cart-0");
    }

    #[test]
    fn a_deleted_pod_that_was_never_named_keeps_its_uid() {
        let mut node = Node::new();
        let id = node.cgroup(&format!("kubepods/pod{UID}"));
        assert_eq!(node.label(0, id, 0, 0), format!("pod/{UID}"));
        fs::remove_dir_all(node.cgroups.path().join("kubepods")).unwrap();
        let other = node.cgroup("other");
        node.label(2, other, 0, 0);
        assert_eq!(node.label(9, id, 0, 0), format!("pod/{UID}"));
    }

    #[test]
    fn a_host_process_goes_by_its_unit_or_else_its_escaped_command() {
        let mut node = Node::new();
        let unit = node.cgroup("system.slice/systemd-resolved.service");
        let bare = node.cgroup("own/group");
        node.proc.add(50, HOST_NETNS, b"x\x1b]0;\n", "0::/own/group\n");
        assert_eq!(node.label(0, unit, HOST_NETNS, 0), "host/systemd-resolved.service");
        assert_eq!(node.label(0, bare, HOST_NETNS, 50), r"host/x\027]0;");
    }

    #[test]
    fn a_cgroup_that_is_gone_is_attributed_by_its_namespace_or_to_nobody() {
        let mut node = Node::new();
        assert_eq!(node.label(0, 9_999_999_999, POD_NETNS, 0), "unattributed");
        let id = node.cgroup(&format!("kubepods/pod{UID}"));
        node.log(&format!("shop_cart-0_{UID}"));
        node.proc.add(60, POD_NETNS, b"app\n", "");
        assert_eq!(node.label(2, id, POD_NETNS, 60), "shop/cart-0");
        assert_eq!(node.label(4, 9_999_999_999, POD_NETNS, 0), "shop/cart-0");
        assert_eq!(node.label(4, 9_999_999_998, HOST_NETNS, 0), "unattributed");
    }

    #[test]
    fn processes_in_no_group_go_by_the_command_the_kernel_recorded() {
        let mut node = Node::new();
        let root = fs::metadata(node.cgroups.path()).unwrap().ino();
        let mut owner = |command: &[u8], tgid| {
            let mut key = OwnerKey { cgroup: root, netns: HOST_NETNS, tgid, command: [0; 16] };
            key.command[..command.len()].copy_from_slice(command);
            node.identity.owner(key).to_string()
        };
        assert_eq!(owner(b"dig", 90), "host/dig");
        assert_eq!(owner(b"a\x1b[2J", 90), r"host/a\027[2J");
        assert_eq!(owner(b"", 1), "host/init");
        assert_eq!(owner(b"", 90), "unattributed");
    }

    #[test]
    fn on_a_hybrid_host_the_process_and_its_namespace_tell() {
        let mut node = Node::new();
        node.log(&format!("shop_cart-0_{UID}"));
        let v1 = format!("4:memory:/kubepods/besteffort/pod{UID}/x\n1:name=systemd:/\n0::/\n");
        node.proc.add(70, POD_NETNS, b"app\n", &v1);
        assert_eq!(node.label(0, 0, POD_NETNS, 70), "shop/cart-0");
        // Remembered for packets whose process is not known, or gone.
        assert_eq!(node.label(0, 0, POD_NETNS, 0), "shop/cart-0");
        node.proc.remove(70);
        assert_eq!(node.label(9, 0, POD_NETNS, 70), "shop/cart-0");
    }

    #[test]
    fn on_a_hybrid_host_a_neighbour_names_the_pod_of_a_process_that_is_gone() {
        let mut node = Node::new();
        node.log(&format!("shop_cart-0_{UID}"));
        node.proc.add(71, POD_NETNS, b"pause\n", &format!("4:memory:/kubepods/pod{UID}/x\n"));
        assert_eq!(node.label(0, 0, POD_NETNS, 70), "shop/cart-0");
        // A host process names nobody but itself.
        node.proc.add(72, POD_NETNS + 1, b"sleep\n", "0::/\n");
        assert_eq!(node.label(9, 0, POD_NETNS + 1, 73), "unattributed");
    }

    #[test]
    fn a_process_that_left_the_namespace_proves_nothing() {
        let mut node = Node::new();
        node.proc.add(80, HOST_NETNS, b"app\n", "0::/\n");
        assert_eq!(node.label(0, 0, POD_NETNS, 80), "unattributed");
    }

    #[test]
    fn a_host_network_pod_on_a_hybrid_host_is_not_guessed() {
        let mut node = Node::new();
        node.proc.add(90, HOST_NETNS, b"app\n", &format!("4:memory:/kubepods/pod{UID}\n"));
        assert_eq!(node.label(0, 0, HOST_NETNS, 90), "unattributed");
    }

    #[test]
    fn without_cgroup_and_namespace_nobody_is_named() {
        let mut node = Node::new();
        let owner = node.identity.owner(OwnerKey::default());
        assert!(matches!(*owner, Owner::Unattributed { reason: UnattributedReason::NoCgroup }));
    }

    #[test]
    fn a_name_in_a_namespace_that_was_unknown_at_first_is_learned_later() {
        let mut node = Node::new();
        let v1 = format!("4:memory:/kubepods/pod{UID}\n");
        node.proc.add(70, POD_NETNS, b"app\n", &v1);
        assert_eq!(node.label(0, 0, POD_NETNS, 70), format!("pod/{UID}"));
        node.log(&format!("shop_cart-0_{UID}"));
        assert_eq!(node.label(2, 0, POD_NETNS, 70), "shop/cart-0");
    }
}
