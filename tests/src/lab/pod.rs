//! A pod: a network namespace wired to the node, a cgroup and a log directory
//! shaped and named as the kubelet does, and its own `/etc/resolv.conf`.

use std::fs::{self, File, OpenOptions};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::process::Process;
use super::shell::Namespace;

/// How a pod hangs on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// A veth pair of its own, /32 and /128 routes, next hop 169.254.1.1
    /// (Calico, GKE): every packet crosses the node's IP layer.
    PointToPoint,
    /// A port of the bridge `cbr0` (kubenet, flannel): packets between pods
    /// cross netfilter through `br_netfilter`.
    Bridge,
    /// Both: a server that clients of either kind can reach.
    Both,
}

impl Wiring {
    const fn is_point_to_point(self) -> bool {
        matches!(self, Self::PointToPoint | Self::Both)
    }

    const fn is_bridge(self) -> bool {
        matches!(self, Self::Bridge | Self::Both)
    }
}

/// Who a pod is.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Kubernetes namespace.
    pub namespace: &'static str,
    /// Pod name.
    pub name: &'static str,
    /// Last byte of its addresses; also what its UID and container id are
    /// made from.
    pub number: u8,
    /// How it hangs on the node.
    pub wiring: Wiring,
}

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

/// Next hop of point-to-point pods.
const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
const NEXT_HOP_V6: &str = "fe80::1";
/// The node's address on the bridge.
pub(super) const BRIDGE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 245, 0, 1);
/// Everything on the bridge.
pub(super) const BRIDGE_SUBNET: &str = "10.245.0.0/24";
/// Bridge of the kubenet-like pods.
pub(super) const BRIDGE: &str = "cbr0";

impl Spec {
    /// `namespace/name`, as dnsprobe labels it.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Name of its network namespace.
    #[must_use]
    pub fn netns(&self) -> String {
        format!("lab-{}", self.name)
    }

    /// Address behind the point-to-point link; on the bridge for a pod that
    /// has only that.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        if self.wiring.is_point_to_point() {
            Ipv4Addr::new(10, 244, 0, self.number)
        } else {
            self.bridge_address()
        }
    }

    /// Address on the bridge.
    #[must_use]
    pub fn bridge_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 245, 0, self.number)
    }

    /// IPv6 address behind the point-to-point link.
    #[must_use]
    pub fn address_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, u16::from(self.number))
    }

    /// Pod UID; made up, but always the same.
    #[must_use]
    pub fn uid(&self) -> String {
        let n = self.number;
        format!("d15bea50-7e57-4{n:03x}-8a6b-0000000000{n:02x}")
    }

    fn container_id(&self) -> String {
        format!("{:02x}", self.number).repeat(32)
    }

    /// Path below the cgroup mount, with systemd's and containerd's names. The
    /// three quality-of-service classes have three shapes.
    fn cgroup(&self) -> PathBuf {
        let uid = self.uid().replace('-', "_");
        let slice = match self.number % 3 {
            0 => format!("kubepods.slice/kubepods-pod{uid}.slice"),
            1 => {
                format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice")
            }
            _ => format!(
                "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid}.slice"
            ),
        };
        Path::new(&slice).join(format!("cri-containerd-{}.scope", self.container_id()))
    }

    /// Link-layer addresses, so that neighbours can be entered beforehand:
    /// `side` 1 is the pod, 0 the node.
    pub(super) fn mac(&self, bridge: bool, side: u8) -> String {
        format!("02:d5:{:02x}:00:{side:02x}:{:02x}", u8::from(bridge), self.number)
    }

    /// The node's end of the pod's link.
    pub(super) fn node_device(&self, bridge: bool) -> String {
        format!("{}{}", if bridge { "br" } else { "pod" }, self.number)
    }

    /// The pod's end of the link to the bridge.
    const fn bridge_device(&self) -> &'static str {
        if self.wiring.is_point_to_point() { "eth1" } else { "eth0" }
    }

    /// `ip` commands, run on the node, that make the links.
    pub(super) fn link_commands(&self) -> String {
        let netns = self.netns();
        let mut commands = String::new();
        if self.wiring.is_point_to_point() {
            let (device, node, pod) =
                (self.node_device(false), self.mac(false, 0), self.mac(false, 1));
            let (v4, v6) = (self.address(), self.address_v6());
            commands += &format!(
                "link add {device} address {node} type veth peer name eth0 address {pod} netns {netns}\n\
                 link set {device} up\n\
                 addr add {NEXT_HOP_V6}/64 dev {device} nodad\n\
                 neigh replace {v4} lladdr {pod} dev {device} nud permanent\n\
                 neigh replace {v6} lladdr {pod} dev {device} nud permanent\n\
                 route add {v4}/32 dev {device}\n\
                 route add {v6}/128 dev {device}\n"
            );
        }
        if self.wiring.is_bridge() {
            let (device, node, pod) =
                (self.node_device(true), self.mac(true, 0), self.mac(true, 1));
            let inside = self.bridge_device();
            commands += &format!(
                "link add {device} address {node} type veth peer name {inside} address {pod} netns {netns}\n\
                 link set {device} master {BRIDGE} up\n"
            );
        }
        commands
    }

    /// `ip` commands, run in the pod, that configure its end.
    fn inside_commands(&self, neighbours: &[Spec]) -> String {
        let mut commands = String::from("link set lo up\n");
        if self.wiring.is_point_to_point() {
            let (node, v4, v6) = (self.mac(false, 0), self.address(), self.address_v6());
            commands += &format!(
                "addr add {v4}/32 dev eth0\n\
                 addr add {v6}/128 dev eth0 nodad\n\
                 link set eth0 up\n\
                 neigh replace {NEXT_HOP} lladdr {node} dev eth0 nud permanent\n\
                 neigh replace {NEXT_HOP_V6} lladdr {node} dev eth0 nud permanent\n\
                 route add {NEXT_HOP} dev eth0 scope link\n\
                 route add default via {NEXT_HOP} dev eth0\n\
                 route add default via {NEXT_HOP_V6} dev eth0\n"
            );
        }
        if self.wiring.is_bridge() {
            let (device, v4) = (self.bridge_device(), self.bridge_address());
            commands += &format!("addr add {v4}/24 dev {device}\nlink set {device} up\n");
            for other in
                neighbours.iter().filter(|s| s.wiring.is_bridge() && s.number != self.number)
            {
                commands += &format!(
                    "neigh replace {} lladdr {} dev {device} nud permanent\n",
                    other.bridge_address(),
                    other.mac(true, 1)
                );
            }
            if !self.wiring.is_point_to_point() {
                commands += &format!("route add default via {BRIDGE_ADDRESS} dev {device}\n");
            }
        }
        commands
    }
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

    /// Start `command` as a process of this pod: its network namespace, its
    /// cgroup, its `/etc/resolv.conf`.
    pub fn spawn(&self, mut command: Command) -> Result<Process> {
        let name = format!("{} in {}", command.get_program().display(), self.label());
        join_cgroup(&mut command, &self.cgroup)?;
        let child = self.namespace.enter(|| {
            unshare(CloneFlags::CLONE_NEWNS)?;
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
            mount(Some(&self.resolv_conf), "/etc/resolv.conf", none, MsFlags::MS_BIND, none)
                .context("cannot give the pod its resolv.conf")?;
            spawn(command)
        });
        Ok(Process::new(&name, child.with_context(|| format!("cannot start {name}"))?))
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
    Ok(Process::new(format!("{} on the host", command.get_program().display()), spawn(command)?))
}

fn spawn(mut command: Command) -> Result<std::process::Child> {
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
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

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: Spec =
        Spec { namespace: "shop", name: "cart", number: 10, wiring: Wiring::PointToPoint };

    #[test]
    fn cgroup_paths_are_the_kubelets() {
        let id = "0a".repeat(32);
        assert_eq!(
            SPEC.cgroup().to_str().unwrap(),
            format!(
                "kubepods.slice/kubepods-burstable.slice/\
                 kubepods-burstable-podd15bea50_7e57_400a_8a6b_00000000000a.slice/cri-containerd-{id}.scope"
            )
        );
        assert_eq!(SPEC.uid().len(), 36);
    }

    #[test]
    fn a_bridge_pod_has_no_point_to_point_link() {
        let spec = Spec { wiring: Wiring::Bridge, ..SPEC };
        assert_eq!(spec.address(), Ipv4Addr::new(10, 245, 0, 10));
        assert!(!spec.link_commands().contains("pod10"));
        assert!(spec.link_commands().contains("master cbr0"));
    }
}
