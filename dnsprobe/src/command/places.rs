//! Options that say where the node's own files are, for a dnsprobe that runs in
//! a pod with the node's directories mounted somewhere.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;

use crate::{
    cri,
    identity::{Identity, IdentityOptions, RuntimeDirs, SharedFacts, escape, unified_below},
};

const HEADING: &str = "Where the node's files are";
/// Stands for no socket of a container runtime.
const NOBODY: &str = "none";

/// Where the node's files are. On the node itself nothing has to be given.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct NodePlaces {
    /// Where the node's root directory, or parts of it, are mounted; goes before
    /// every default below.
    #[arg(long, help_heading = HEADING, value_name = "DIR")]
    host_root: Option<PathBuf>,
    /// Where the kubelet keeps pod logs; names pods [default: /var/log/pods].
    #[arg(long, help_heading = HEADING, value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// Where the cgroup v2 hierarchy is mounted; found by itself if not given.
    #[arg(long, help_heading = HEADING, value_name = "DIR")]
    cgroup_root: Option<PathBuf>,
    /// The node's process directory [default: /proc].
    #[arg(long, help_heading = HEADING, value_name = "DIR")]
    proc_root: Option<PathBuf>,
    /// Where container runtimes keep the state of what runs [default: /run].
    #[arg(long, help_heading = HEADING, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// The container runtime's CRI socket, asked for the names of pods and containers
    /// that the files do not tell; `none`: ask nobody [default: containerd's or CRI-O's,
    /// where it is].
    #[arg(long, help_heading = HEADING, value_name = "SOCKET")]
    cri_socket: Option<PathBuf>,
    /// The node's name in output [default: $NODE_NAME, else this machine's].
    #[arg(long, help_heading = HEADING, value_name = "NAME")]
    node_name: Option<String>,
}

impl NodePlaces {
    /// The node's name, safe to print.
    pub(super) fn name(&self) -> Option<String> {
        let given = self.node_name.clone().or_else(|| env::var("NODE_NAME").ok());
        let own = || fs::read_to_string(self.proc_root().join("sys/kernel/hostname")).ok();
        let name = given.or_else(own)?;
        let name = name.trim();
        (!name.is_empty()).then(|| escape(name.as_bytes()))
    }

    /// The kubelet's pod log directory.
    pub(super) fn log_dir(&self) -> PathBuf {
        self.log_dir.clone().unwrap_or_else(|| self.root().join("var/log/pods"))
    }

    /// The node's process directory.
    pub(super) fn proc_root(&self) -> PathBuf {
        self.proc_root.clone().unwrap_or_else(|| self.root().join("proc"))
    }

    /// A process's directory.
    pub(super) fn process(&self, pid: u32) -> PathBuf {
        self.proc_root().join(pid.to_string())
    }

    /// The socket of the container runtime that may be asked.
    pub(super) fn cri_socket(&self) -> Option<PathBuf> {
        match &self.cri_socket {
            Some(given) => (given != Path::new(NOBODY)).then(|| given.clone()),
            None => cri::find(&self.identity().runtime_dirs),
        }
    }

    /// Names for one look: what the files tell, and once what the runtime lists.
    pub(super) fn identity_now(&self) -> Identity {
        let mut identity = Identity::new(self.identity());
        let Some(socket) = self.cri_socket() else { return identity };
        match cri::list(&socket) {
            Ok(listing) => {
                let facts = SharedFacts::default();
                facts.publish_listed(listing.pods);
                identity.use_facts(Arc::new(facts));
            }
            Err(error) => {
                let socket = escape(socket.as_os_str().as_encoded_bytes());
                eprintln!("dnsprobe: the container runtime at {socket} names no pods: {error}");
            }
        }
        identity
    }

    /// Where everything that names owners is.
    pub(super) fn identity(&self) -> IdentityOptions {
        let mut runtime_dirs = RuntimeDirs::below(self.root());
        if let Some(run) = &self.run_dir {
            runtime_dirs.run.clone_from(run);
        }
        // The mount table is that of our own mount namespace: with the node's
        // files elsewhere it would lead to our own part of the hierarchy.
        let below =
            || self.host_root.as_ref().map(|root| unified_below(&root.join("sys/fs/cgroup")));
        IdentityOptions {
            log_dir: self.log_dir(),
            cgroup_root: self.cgroup_root.clone().or_else(below),
            proc_root: self.proc_root(),
            runtime_dirs,
        }
    }

    fn root(&self) -> &Path {
        self.host_root.as_deref().unwrap_or(Path::new("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_the_node_itself_nothing_is_given() {
        let identity = NodePlaces::default().identity();
        assert_eq!(identity.log_dir, Path::new("/var/log/pods"));
        assert_eq!(identity.proc_root, Path::new("/proc"));
        assert_eq!(identity.cgroup_root, None);
        assert_eq!(identity.runtime_dirs.run, Path::new("/run"));
    }

    #[test]
    fn nobody_is_asked_when_that_is_said() {
        let of =
            |socket: &str| NodePlaces { cri_socket: Some(socket.into()), ..NodePlaces::default() };
        assert_eq!(of("none").cri_socket(), None);
        assert_eq!(of("/run/x.sock").cri_socket().as_deref(), Some(Path::new("/run/x.sock")));
    }

    #[test]
    fn a_mounted_root_goes_before_what_is_not_given() {
        let places = NodePlaces {
            host_root: Some("/host".into()),
            proc_root: Some("/hostproc".into()),
            run_dir: Some("/hostrun".into()),
            ..NodePlaces::default()
        };
        let identity = places.identity();
        assert_eq!(identity.log_dir, Path::new("/host/var/log/pods"));
        assert_eq!(identity.proc_root, Path::new("/hostproc"));
        assert_eq!(identity.cgroup_root.as_deref(), Some(Path::new("/host/sys/fs/cgroup")));
        assert_eq!(identity.runtime_dirs.run, Path::new("/hostrun"));
        assert_eq!(identity.runtime_dirs.state, Path::new("/host/var/lib"));
    }
}
