//! Pods as the kubelet and containerd leave them on a node, made and removed in
//! a moment: cgroups of either driver and every class, log directories and links,
//! containerd's state files. Their containers are processes of the lab, or run by
//! a real runtime: see `lab::containerd`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::pod::{self, Directories};
use super::process::Process;
use super::shell::Namespace;

/// Where containerd keeps the state of what runs.
const CONTAINERD_STATE: &str = "/run/containerd/io.containerd.runtime.v2.task/k8s.io";
/// Where the kubelet keeps links to the logs of all containers.
const CONTAINER_LOGS: &str = "/var/log/containers";

/// A pod.
#[derive(Clone, Debug)]
pub struct KubePod {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    number: u32,
    cgroup: PathBuf,
    /// Container cgroups are named as this driver does.
    systemd: bool,
    log: PathBuf,
    network: Namespace,
}

/// One of its containers.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    cgroup: PathBuf,
    state: PathBuf,
    link: PathBuf,
    network: Namespace,
}

impl KubePod {
    /// Make its log directory and its cgroup. The number tells pods apart and
    /// chooses among the cgroup drivers and classes.
    pub fn create(
        directories: &Directories,
        (namespace, name): (&str, &str),
        number: u32,
        network: Namespace,
    ) -> Result<Self> {
        let uid = uid(number);
        let systemd = number.is_multiple_of(2);
        let path = if systemd {
            let uid = uid.replace('-', "_");
            match number / 2 % 3 {
                0 => format!("kubepods.slice/kubepods-pod{uid}.slice"),
                1 => format!(
                    "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice"
                ),
                _ => format!(
                    "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid}.slice"
                ),
            }
        } else {
            match number / 2 % 3 {
                0 => format!("kubepods/pod{uid}"),
                1 => format!("kubepods/burstable/pod{uid}"),
                _ => format!("kubepods/besteffort/pod{uid}"),
            }
        };
        let log = directories.logs.join(format!("{namespace}_{name}_{uid}"));
        fs::create_dir_all(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let cgroup = directories.cgroups.join(path);
        fs::create_dir_all(&cgroup)?;
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            number,
            cgroup,
            systemd,
            log,
            network,
        })
    }

    /// `namespace/name`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Its UID as the kubelet has it.
    #[must_use]
    pub fn uid(&self) -> String {
        uid(self.number)
    }

    /// Its cgroup, without those of its containers.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// Where the logs of its containers go.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Where its network is.
    #[must_use]
    pub const fn network(&self) -> &Namespace {
        &self.network
    }

    /// Make one of its containers, the `restart`-th of that name.
    pub fn container(&self, name: &str, restart: u32) -> Result<Container> {
        let id = id(self.number, name, restart);
        let log = self.log.join(name);
        fs::create_dir_all(&log)?;
        let log = log.join(format!("{restart}.log"));
        fs::write(&log, "")?;
        fs::create_dir_all(CONTAINER_LOGS)?;
        let link = Path::new(CONTAINER_LOGS)
            .join(format!("{}_{}_{name}-{id}.log", self.name, self.namespace));
        symlink(&log, &link).with_context(|| format!("cannot create {}", link.display()))?;
        let state = Path::new(CONTAINERD_STATE).join(&id);
        let leaf = if self.systemd { format!("cri-containerd-{id}.scope") } else { id.clone() };
        let cgroup = self.cgroup.join(leaf);
        let network = self.network.clone();
        let container = Container { name: name.to_owned(), id, cgroup, state, link, network };
        // Half of the pods have one source of names less.
        if self.number % 4 < 2 {
            fs::create_dir_all(&container.state)?;
            let annotations = serde_json::json!({ "annotations": {
                "io.kubernetes.cri.container-type": "container",
                "io.kubernetes.cri.container-name": name,
                "io.kubernetes.cri.sandbox-name": self.name,
                "io.kubernetes.cri.sandbox-namespace": self.namespace,
            }});
            fs::write(container.state.join("config.json"), annotations.to_string())?;
        }
        let cgroup = &container.cgroup;
        fs::create_dir(cgroup).with_context(|| format!("cannot create {}", cgroup.display()))?;
        Ok(container)
    }

    /// Remove what is left of it once its containers are removed.
    pub fn remove(&self) {
        // Whatever stays behind is in the guest's memory only.
        let _ = fs::remove_dir(&self.cgroup);
        let _ = fs::remove_dir_all(&self.log);
    }
}

impl Container {
    /// Its cgroup.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// Start a process in it.
    pub fn spawn(&self, command: Command) -> Result<Process> {
        self.network.enter(|| pod::spawn_on_host(command, &self.cgroup))
    }

    /// Remove it; its processes have ended, and if a runtime ran it, it is gone
    /// from there.
    pub fn remove(&self) {
        let _ = fs::remove_dir(&self.cgroup);
        let _ = fs::remove_dir_all(&self.state);
        let _ = fs::remove_file(&self.link);
    }
}

/// Every tenth pod is a static one, whose UID is a hash.
fn uid(number: u32) -> String {
    if number % 10 == 9 {
        format!("5a71c0000000000000000000{number:08x}")
    } else {
        format!("a77b0000-7e57-4000-8a6b-0000{number:08x}")
    }
}

fn id(number: u32, name: &str, restart: u32) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in number.to_le_bytes().into_iter().chain(restart.to_le_bytes()).chain(name.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    format!("{hash:016x}").repeat(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_pods_containers_and_restarts_apart() {
        let all = [id(1, "app", 0), id(2, "app", 0), id(1, "proxy", 0), id(1, "app", 1)];
        for (index, one) in all.iter().enumerate() {
            assert_eq!(one.len(), 64);
            assert!(!all[..index].contains(one));
        }
        assert_eq!(uid(9).len(), 32);
        assert_eq!(uid(8).len(), 36);
    }
}
