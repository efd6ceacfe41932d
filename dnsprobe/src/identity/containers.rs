//! Every container of every pod, from the processes that run now.

use std::{collections::BTreeMap, fs, sync::Arc, time::Instant};

use super::{Identity, Owner, placement::Placement};

/// Processes that see the same files: a container.
#[derive(Clone, Debug)]
pub struct RunningContainer {
    /// The pod, or for a process outside pods its unit or command.
    pub owner: Arc<Owner>,
    /// Its network namespace's inode.
    pub netns: u32,
    /// Its processes, oldest number first; never empty.
    pub pids: Vec<u32>,
    /// Command of the first, escaped.
    pub command: String,
}

impl Identity {
    /// The containers of all pods. Processes that end meanwhile are left out.
    pub fn containers(&mut self) -> Vec<RunningContainer> {
        let now = Instant::now();
        let mut groups: BTreeMap<(Arc<Owner>, u64), RunningContainer> = BTreeMap::new();
        for pid in self.processes.all() {
            let Some(placement @ Placement::Pod { .. }) = self.processes.placement(pid) else {
                continue;
            };
            let Some(mounts) = self.processes.mount_namespace(pid) else { continue };
            let Some(found) = self.running(pid, placement, now) else { continue };
            groups
                .entry((Arc::clone(&found.owner), mounts))
                .and_modify(|container| container.pids.push(pid))
                .or_insert(found);
        }
        groups.into_values().collect()
    }

    /// The same for one process, wherever it is; `None` when it is gone.
    pub fn container_of(&mut self, pid: u32) -> Option<RunningContainer> {
        let placement = self.processes.placement(pid)?;
        self.running(pid, placement, Instant::now())
    }

    /// Inode of the node's own network namespace.
    #[must_use]
    pub fn host_netns(&self) -> Option<u32> {
        self.processes.host_netns()
    }

    fn running(
        &mut self,
        pid: u32,
        placement: Placement,
        now: Instant,
    ) -> Option<RunningContainer> {
        let netns = self.processes.netns(pid)?;
        let command = self.processes.command(pid)?;
        let owner = Arc::new(self.named(placement, pid, now)?);
        Some(RunningContainer { owner, netns, pids: vec![pid], command })
    }
}

impl super::process::Processes {
    /// Every process, lowest number first.
    pub(super) fn all(&self) -> Vec<u32> {
        let Ok(entries) = fs::read_dir(self.root()) else { return Vec::new() };
        let mut pids: Vec<u32> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        pids.sort_unstable();
        pids
    }

    /// Inode of a process's mount namespace.
    fn mount_namespace(&self, pid: u32) -> Option<u64> {
        let link = fs::read_link(self.root().join(format!("{pid}/ns/mnt"))).ok()?;
        link.to_str()?.strip_prefix("mnt:[")?.strip_suffix(']')?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::identity::{
        IdentityOptions, RuntimeDirs,
        testing::{FakeProc, TempDir},
    };

    #[test]
    fn processes_of_a_pod_are_grouped_by_the_files_they_see() {
        let (logs, proc) = (TempDir::new(), FakeProc::new());
        let pod = |uid: &str| format!("0::/kubepods/pod{uid}/{}\n", "ab".repeat(32));
        for (pid, mounts, cgroup) in [
            (1, 1, "0::/init.scope\n".to_owned()),
            (10, 2, pod("u-1")),
            (11, 2, pod("u-1")),
            (12, 3, pod("u-1")),
            (13, 4, pod("u-2")),
        ] {
            proc.add(pid, 4_026_532_000, b"app\n", &cgroup);
            symlink(format!("mnt:[{mounts}]"), proc.path().join(format!("{pid}/ns/mnt"))).unwrap();
        }
        let mut identity = Identity::new(IdentityOptions {
            log_dir: logs.path().to_owned(),
            cgroup_root: Some(logs.path().to_owned()),
            proc_root: proc.path().to_owned(),
            runtime_dirs: RuntimeDirs::below(logs.path()),
        });
        let found: Vec<_> = identity
            .containers()
            .into_iter()
            .map(|container| (container.owner.to_string(), container.pids))
            .collect();
        let expected = [
            ("pod/u-1".to_owned(), vec![10, 11]),
            ("pod/u-1".to_owned(), vec![12]),
            ("pod/u-2".to_owned(), vec![13]),
        ];
        assert_eq!(found, expected);
        let host = identity.container_of(1).unwrap();
        assert_eq!(host.owner.to_string(), "host/init.scope");
        assert!(identity.container_of(99).is_none());
    }
}
