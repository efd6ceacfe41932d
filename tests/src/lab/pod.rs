//! A pod: a network namespace wired to the node, a cgroup and a log directory
//! shaped and named as the kubelet does, and its own `/etc/resolv.conf`.

use std::fs::{self, File, OpenOptions};
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::process::Process;
use super::shell::Namespace;
use super::spec::Spec;

/// Places on the machine the pods' files go to.
#[derive(Clone, Debug)]
pub struct Directories {
    /// The cgroup v2 mount.
    pub cgroups: PathBuf,
    /// The kubelet's pod log directory.
    pub logs: PathBuf,
    /// Scratch space.
    pub run: PathBuf,
}

/// A pod that is up.
#[derive(Debug)]
pub struct Pod {
    spec: Spec,
    namespace: Namespace,
    cgroup: PathBuf,
    log: PathBuf,
    resolv_conf: PathBuf,
}

impl Pod {
    /// Configure the inside of the pod, whose links exist already.
    pub(super) fn create(
        spec: Spec,
        neighbours: &[Spec],
        nameservers: &[IpAddr],
        directories: &Directories,
    ) -> Result<Self> {
        let namespace = Namespace::Named(spec.netns());
        namespace.ip(&spec.inside_commands(neighbours))?;
        // On the bridge only the neighbour entries of the lab count.
        if spec.wiring.is_bridge() {
            namespace.sysctl(&[&format!("net/ipv4/conf/{}/arp_ignore=8", spec.bridge_device())])?;
        }
        let cgroup = directories.cgroups.join(spec.cgroup());
        fs::create_dir_all(&cgroup)
            .with_context(|| format!("cannot create {}", cgroup.display()))?;
        let log = directories.logs.join(format!("{}_{}_{}", spec.namespace, spec.name, spec.uid()));
        fs::create_dir_all(log.join("main"))?;
        File::create(log.join("main/0.log"))?;
        let resolv_conf = directories.run.join(format!("{}.resolv.conf", spec.name));
        let mut text = String::from(
            "search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
        );
        for nameserver in nameservers {
            text += &format!("nameserver {nameserver}\n");
        }
        fs::write(&resolv_conf, text)?;
        Ok(Self { spec, namespace, cgroup, log, resolv_conf })
    }

    /// Who it is.
    #[must_use]
    pub const fn spec(&self) -> &Spec {
        &self.spec
    }

    /// `namespace/name`.
    #[must_use]
    pub fn label(&self) -> String {
        self.spec.label()
    }

    /// Its network namespace.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its cgroup.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// Start `command` as a process of this pod: its network namespace, its
    /// cgroup, its `/etc/resolv.conf`.
    pub fn spawn(&self, command: Command) -> Result<Process> {
        self.spawn_in(command, &self.resolv_conf)
    }

    /// The same with another `/etc/resolv.conf`.
    pub fn spawn_with_resolv_conf(&self, command: Command, text: &str) -> Result<Process> {
        let path = self.resolv_conf.with_extension("other");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        self.spawn_in(command, &path)
    }

    fn spawn_in(&self, mut command: Command, resolv_conf: &Path) -> Result<Process> {
        let name = format!("{} in {}", command.get_program().display(), self.label());
        join_cgroup(&mut command, &self.cgroup)?;
        let child = self.namespace.enter(|| {
            unshare(CloneFlags::CLONE_NEWNS)?;
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
            mount(Some(resolv_conf), "/etc/resolv.conf", none, MsFlags::MS_BIND, none)
                .context("cannot give the pod its resolv.conf")?;
            spawn(command)
        });
        Ok(Process::new(&name, child.with_context(|| format!("cannot start {name}"))?))
    }

    /// The same in the node's own network namespace, as for a pod with
    /// `hostNetwork: true`.
    pub(super) fn spawn_on_host_network(&self, command: Command) -> Result<Process> {
        spawn_on_host(command, &self.cgroup)
    }

    /// Remove what outlives the pod's processes.
    pub(super) fn remove(&self) {
        // A cgroup is gone only when its last process is; the lab ended those.
        let _ = fs::remove_dir(&self.cgroup);
        let _ = self.cgroup.parent().map(fs::remove_dir);
        let _ = fs::remove_dir_all(&self.log);
    }
}

/// Start `command` in a cgroup below `cgroups`, in the node's own namespaces:
/// a process that belongs to no pod.
pub(super) fn spawn_on_host(mut command: Command, cgroup: &Path) -> Result<Process> {
    fs::create_dir_all(cgroup)?;
    join_cgroup(&mut command, cgroup)?;
    spawn_here(command)
}

/// Start `command` in the lab's own cgroup and namespaces.
pub fn spawn_here(command: Command) -> Result<Process> {
    Ok(Process::new(format!("{} on the host", command.get_program().display()), spawn(command)?))
}

fn spawn(mut command: Command) -> Result<std::process::Child> {
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// Puts this process into a cgroup: sockets belong to that of the process that makes
/// them, and stay there.
///
/// # Errors
/// When there is no such cgroup, or it may not be entered.
pub fn enter_cgroup(cgroup: &Path) -> Result<()> {
    // "0" is the writing process itself.
    fs::write(cgroup.join("cgroup.procs"), "0")
        .with_context(|| format!("cannot enter {}", cgroup.display()))
}

/// Let the child enter `cgroup` between fork and exec.
fn join_cgroup(command: &mut Command, cgroup: &Path) -> Result<()> {
    let procs = OpenOptions::new()
        .write(true)
        .open(cgroup.join("cgroup.procs"))
        .with_context(|| format!("no cgroup {}", cgroup.display()))?;
    let enter = move || {
        // "0" is the writing process itself.
        nix::unistd::write(&procs, b"0").map(drop).map_err(std::io::Error::from)
    };
    // SAFETY: between fork and exec the closure only makes one write(2) on a
    // file opened before the fork, which is async-signal-safe.
    unsafe { command.pre_exec(enter) };
    Ok(())
}
