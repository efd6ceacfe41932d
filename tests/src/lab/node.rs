//! The mini node: its namespace, its devices, its pods and their servers.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::firewall::Rules;
use super::pod::{self, Directories, Pod};
use super::process::Process;
use super::server;
use super::shell::Namespace;
use super::spec::{BRIDGE, BRIDGE_ADDRESS, Spec, Wiring};
use super::{bridge, cast};

/// Which machine plays the node.
#[derive(Clone, Debug)]
pub enum Place {
    /// This one, a guest nobody else uses.
    WholeMachine,
    /// A network namespace of its own on somebody's machine.
    OwnNamespace {
        /// cgroup v2 mount below which the pods' cgroups may be made.
        cgroups: PathBuf,
    },
}

/// A node that is up.
#[derive(Debug)]
pub struct Node {
    place: Place,
    namespace: Namespace,
    directories: Directories,
    specs: Vec<Spec>,
    pods: Vec<Pod>,
    servers: Vec<Process>,
    /// Held as long as the node is up.
    _only_one: File,
}

const OWN_NAMESPACE: &str = "lab-node";
/// Where packets for the rest of the world go.
pub(crate) const UPLINK: &str = "uplink0";
/// The next hop there.
pub(crate) const UPLINK_GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Holds the addresses of IPVS services, as kube-proxy has it.
pub(super) const IPVS_DEVICE: &str = "kube-ipvs0";
const RUN: &str = "/run/dnsprobe-lab";
const LOCK: &str = "/run/dnsprobe-lab.lock";

/// Modules a kubelet's machine has loaded anyway, and those of the faults.
const MODULES: &str = "veth dummy bridge br_netfilter sch_netem nf_conntrack nf_conntrack_netlink \
    iptable_nat iptable_mangle iptable_filter iptable_raw ip6table_nat ip6table_filter \
    xt_NFQUEUE nfnetlink_queue ip_vs ip_vs_rr";

/// Two nodes on one machine would have the same names, and each would clear the
/// other away as the leftovers of an interrupted run.
fn only_one(lock: &Path) -> Result<File> {
    let file = File::create(lock).with_context(|| format!("cannot create {}", lock.display()))?;
    file.try_lock().context("another lab has its node on this machine; wait until it ends")?;
    Ok(file)
}

/// Namespaces of the node's own on this machine, below its cgroup mount.
pub fn own_namespace() -> Result<Place> {
    Ok(Place::OwnNamespace { cgroups: cgroup_mount()? })
}

/// Where cgroup v2 is mounted: in hybrid set-ups not at the top.
fn cgroup_mount() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mount = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&"cgroup2"))
        .and_then(|fields| fields.get(1).map(PathBuf::from))
        .context("cgroup v2 is not mounted")?;
    let writable = fs::create_dir(mount.join("kubepods.slice"));
    ensure!(
        writable.is_ok() || mount.join("kubepods.slice").is_dir(),
        "cannot make cgroups below {}",
        mount.display()
    );
    Ok(mount)
}

impl Node {
    /// Build the node with the pods in `specs`, start the DNS servers.
    pub fn up(place: Place, specs: &[Spec]) -> Result<Self> {
        let only_one = only_one(Path::new(LOCK))?;
        let (namespace, cgroups, logs) = match &place {
            Place::WholeMachine => {
                Namespace::Own.run(&format!("modprobe -a {MODULES}"))?;
                (Namespace::Own, PathBuf::from("/sys/fs/cgroup"), PathBuf::from("/var/log/pods"))
            }
            Place::OwnNamespace { cgroups } => (
                Namespace::Named(OWN_NAMESPACE.into()),
                cgroups.clone(),
                PathBuf::from(RUN).join("pods"),
            ),
        };
        let directories = Directories { cgroups, logs, run: RUN.into() };
        fs::create_dir_all(RUN).with_context(|| format!("cannot create {RUN}"))?;
        let mut node = Self {
            place,
            namespace,
            directories,
            specs: specs.to_vec(),
            pods: Vec::new(),
            servers: Vec::new(),
            _only_one: only_one,
        };
        // From here on dropping `node` cleans up whatever was made; here,
        // whatever an interrupted run left.
        node.remove_namespaces_and_devices();
        node.make_devices()?;
        for spec in specs {
            let pod = Pod::create(*spec, specs, &nameservers(spec), &node.directories)?;
            node.pods.push(pod);
        }
        Rules::default().load(&node)?;
        node.start_servers()?;
        Ok(node)
    }

    fn namespace_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.specs.iter().map(Spec::netns).collect();
        if let Namespace::Named(name) = &self.namespace {
            names.push(name.clone());
        }
        names
    }

    /// Remove what would be in the way of another node. Pods' links go with
    /// their namespaces, and everything else with a node's own namespace.
    fn remove_namespaces_and_devices(&self) {
        for name in self.namespace_names() {
            if Path::new("/run/netns").join(&name).exists() {
                let _ = Namespace::Own.run(&format!("ip netns delete {name}"));
            }
        }
        if matches!(self.place, Place::WholeMachine) {
            for device in [BRIDGE, UPLINK, IPVS_DEVICE] {
                if Path::new("/sys/class/net").join(device).exists() {
                    let _ = self.namespace.run(&format!("ip link delete {device}"));
                }
            }
        }
    }

    fn make_devices(&self) -> Result<()> {
        let add = |name: String| format!("netns add {name}\n");
        Namespace::Own.ip(&self.namespace_names().into_iter().map(add).collect::<String>())?;
        self.namespace.sysctl(&[
            "net/ipv4/ip_forward=1",
            "net/ipv6/conf/all/forwarding=1",
            "net/ipv6/conf/default/accept_dad=0",
        ])?;
        let on_bridge = |spec: &&Spec| spec.wiring != Wiring::PointToPoint;
        let mut batch = String::from("link set lo up\n");
        if self.specs.iter().any(|spec| on_bridge(&spec)) {
            batch += &format!(
                "link add {BRIDGE} type bridge\naddr add {BRIDGE_ADDRESS}/24 dev {BRIDGE}\nlink set {BRIDGE} up\n"
            );
        }
        for spec in &self.specs {
            batch += &spec.link_commands();
        }
        for spec in self.specs.iter().filter(on_bridge) {
            batch += &bridge::neighbour_command(spec);
        }
        if matches!(self.place, Place::WholeMachine) {
            // The uplink: whatever leaves through it is never heard of again.
            batch += &format!(
                "link add {UPLINK} type dummy\n\
                 addr add 192.0.2.10/24 dev {UPLINK}\n\
                 link set {UPLINK} up\n\
                 route add default via {UPLINK_GATEWAY} dev {UPLINK}\n\
                 neigh replace {UPLINK_GATEWAY} lladdr 02:d5:ff:00:00:01 dev {UPLINK} nud permanent\n\
                 link add {IPVS_DEVICE} type dummy\n"
            );
        }
        self.namespace.ip(&batch)?;
        if self.specs.iter().any(|spec| on_bridge(&spec)) {
            // Packets wait for a neighbour for ten seconds, not three.
            self.namespace.sysctl(&[&format!("net/ipv4/neigh/{BRIDGE}/mcast_solicit=10")])?;
        }
        Ok(())
    }

    fn start_servers(&mut self) -> Result<()> {
        for spec in [cast::COREDNS_0, cast::COREDNS_1] {
            if self.pods.iter().any(|pod| pod.spec().number == spec.number) {
                let server = server::start(self.pod(&spec)?, &server::Options::default())?;
                self.servers.push(server);
            }
        }
        Ok(())
    }

    /// The pod of this spec.
    pub fn pod(&self, spec: &Spec) -> Result<&Pod> {
        self.pods
            .iter()
            .find(|pod| pod.spec().number == spec.number)
            .with_context(|| format!("there is no pod {}", spec.label()))
    }

    /// Every pod.
    #[must_use]
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// Where the node's routing, firewall and conntrack are.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Where the pods' files are.
    #[must_use]
    pub const fn directories(&self) -> &Directories {
        &self.directories
    }

    /// Start a process of the node itself, in a systemd-like unit.
    pub fn spawn_on_host(&self, unit: &str, command: Command) -> Result<Process> {
        pod::spawn_on_host(command, &self.directories.cgroups.join("system.slice").join(unit))
    }

    /// Undo what a scenario did to the node: rules, entries, delays.
    pub fn reset(&self) -> Result<()> {
        Rules::default().load(self)?;
        for server in [cast::COREDNS_0, cast::COREDNS_1] {
            server::clear_delays(self.pod(&server)?)?;
        }
        self.namespace.run("nft flush ruleset")?;
        self.namespace.run("ipvsadm -C")?;
        self.namespace.run("conntrack -F").map(drop)
    }
}

/// The cluster's DNS service, in the family or number the pod is there for.
fn nameservers(spec: &Spec) -> Vec<IpAddr> {
    match spec.number {
        n if n == cast::WEB_V6.number => vec![cast::DNS_V6.into()],
        n if n == cast::TWO_NAMESERVERS.number => vec![cast::DNS.into(), cast::SECOND_DNS.into()],
        _ => vec![cast::DNS.into()],
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.servers.clear();
        for pod in &self.pods {
            pod.remove();
        }
        self.remove_namespaces_and_devices();
        if matches!(self.place, Place::OwnNamespace { .. }) {
            let _ = fs::remove_dir_all(&self.directories.run);
            for directory in ["kubepods-burstable.slice", "kubepods-besteffort.slice", ""] {
                let _ =
                    fs::remove_dir(self.directories.cgroups.join("kubepods.slice").join(directory));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_node_is_refused_while_the_first_is_up() {
        let lock = std::env::temp_dir().join(format!("lab-lock-{}", std::process::id()));
        let first = only_one(&lock).unwrap();
        assert!(only_one(&lock).is_err());
        drop(first);
        assert!(only_one(&lock).is_ok());
        fs::remove_file(lock).unwrap();
    }
}
