//! Who a pod is: its name and number, and everything that follows from them -
//! addresses, links, cgroup path, UID.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

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

    pub(super) const fn is_bridge(self) -> bool {
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

/// Next hop of point-to-point pods.
pub const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
const NEXT_HOP_V6: &str = "fe80::1";
/// The node's address on the bridge.
pub(super) const BRIDGE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 245, 0, 1);
/// Everything on the bridge.
pub(super) const BRIDGE_SUBNET: &str = "10.245.0.0/24";
/// Bridge of the kubenet-like pods.
pub(crate) const BRIDGE: &str = "cbr0";

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
    #[must_use]
    pub fn cgroup(&self) -> PathBuf {
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
    #[must_use]
    pub fn mac(&self, bridge: bool, side: u8) -> String {
        format!("02:d5:{:02x}:00:{side:02x}:{:02x}", u8::from(bridge), self.number)
    }

    /// The node's end of the pod's link.
    #[must_use]
    pub fn node_device(&self, bridge: bool) -> String {
        format!("{}{}", if bridge { "br" } else { "pod" }, self.number)
    }

    /// The pod's end of the link to the bridge.
    pub(super) const fn bridge_device(&self) -> &'static str {
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
    pub(super) fn inside_commands(&self, neighbours: &[Spec]) -> String {
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
