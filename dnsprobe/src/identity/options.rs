//! Where on this machine the node's own files are.

use std::path::PathBuf;

use super::RuntimeDirs;

/// Where to look.
#[derive(Clone, Debug)]
pub struct IdentityOptions {
    /// Kubelet's pod log directories, `/var/log/pods` on a node.
    pub log_dir: PathBuf,
    /// The cgroup2 mount; `None`: as the mount table says.
    pub cgroup_root: Option<PathBuf>,
    /// The host's process directory, `/proc` on a node.
    pub proc_root: PathBuf,
    /// Where container runtimes keep their files.
    pub runtime_dirs: RuntimeDirs,
}
