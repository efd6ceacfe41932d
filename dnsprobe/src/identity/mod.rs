//! Who: from what the kernel knows of a socket (cgroup, network namespace,
//! process) to the pod or host unit people know. Knows nothing of DNS.

mod bounded;
mod cgroup;
mod containers;
mod escape;
mod names;
mod namespaces;
mod options;
mod owner;
mod placement;
mod pod_logs;
mod pods;
mod process;
mod remote;
mod resolver;
mod retries;
mod runtime;
#[cfg(test)]
mod testing;
mod workload;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use cgroup::{CgroupAccess, unified_below};
pub use containers::RunningContainer;
pub use escape::escape;
pub use options::IdentityOptions;
pub use owner::{Owner, PodDetails, UnattributedReason};
pub use pods::{Pod, PodLookupError, find_pod};
pub use remote::{
    Backend, ClusterFacts, ClusterPod, Holder, LocalAddress, Remote, RemoteAddress, RemoteFacts,
    RemoteKind, RemoteSource, ServiceFact, SharedFacts, holders,
};
pub use resolver::Identity;
pub use runtime::{ListedPods, RuntimeDirs};
pub use workload::{Workload, WorkloadKind, WorkloadSource};

/// What the kernel knows of who owns a socket. Zero means unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OwnerKey {
    /// cgroup v2 id of the socket's cgroup.
    pub cgroup: u64,
    /// Inode of the socket's network namespace.
    pub netns: u32,
    /// A process (thread group id) that used the socket.
    pub tgid: u32,
    /// Its command, zero-padded, where the kernel recorded it.
    pub command: [u8; 16],
}

/// Names owners. The engine and the statistics see only this, so that both
/// run without a kernel.
pub trait Identify {
    /// The owner behind a key. Never fails: what cannot be named is
    /// [`Owner::Unattributed`] with its reason.
    fn owner(&mut self, key: OwnerKey) -> Arc<Owner>;

    /// Who has an address; `None` when that is not proven.
    fn remote(&mut self, _asked: RemoteAddress) -> Option<Arc<Remote>> {
        None
    }
}
