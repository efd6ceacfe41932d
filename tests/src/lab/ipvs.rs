//! A service in kube-proxy's IPVS mode.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use super::node::{IPVS_DEVICE, Node};
use super::spec::Spec;

/// Sysctls as kube-proxy sets them.
const SYSCTLS: [&str; 5] = [
    "net/ipv4/vs/conntrack=1",
    "net/ipv4/vs/conn_reuse_mode=1",
    "net/ipv4/vs/expire_nodest_conn=1",
    "net/ipv4/vs/expire_quiescent_template=1",
    "net/ipv4/conf/all/arp_ignore=1",
];

/// Set the service up: address on the dummy device, round robin, masquerading
/// real servers.
pub fn service(node: &Node, address: Ipv4Addr, backends: &[Spec]) -> Result<()> {
    node.namespace().sysctl(&SYSCTLS)?;
    node.namespace().ip(&format!("addr replace {address}/32 dev {IPVS_DEVICE}\n"))?;
    let mut commands = format!("-A -u {address}:53 -s rr\n");
    for backend in backends {
        commands += &format!("-a -u {address}:53 -r {}:53 -m\n", backend.address());
    }
    node.namespace().run_with_input("ipvsadm -R", &commands).map(drop)
}

/// Let the kernel keep connections whose real server is gone. It is the
/// kernel's default and what remains when something resets kube-proxy's
/// setting; with 1 kernels since 5.9 repair the fault by themselves.
pub fn keep_stale_connections(node: &Node) -> Result<()> {
    node.namespace().sysctl(&["net/ipv4/vs/expire_nodest_conn=0"])
}

/// Real server that IPVS chose for the connection from `client`:`port`.
pub fn backend_of(node: &Node, client: Ipv4Addr, port: u16) -> Result<Ipv4Addr> {
    let wanted = format!("{client}:{port}");
    let listing = node.namespace().run("ipvsadm -Lnc")?;
    listing
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|fields| fields.get(3) == Some(&wanted.as_str()))
        .and_then(|fields| fields.get(5)?.split(':').next()?.parse().ok())
        .with_context(|| format!("IPVS has no connection from {wanted}"))
}

/// Take a real server out, as kube-proxy does for UDP: at once.
pub fn remove_backend(node: &Node, service: Ipv4Addr, backend: Ipv4Addr) -> Result<()> {
    node.namespace().run(&format!("ipvsadm -d -u {service}:53 -r {backend}:53")).map(drop)
}

/// Put another real server in.
pub fn add_backend(node: &Node, service: Ipv4Addr, backend: Ipv4Addr) -> Result<()> {
    node.namespace().run(&format!("ipvsadm -a -u {service}:53 -r {backend}:53 -m")).map(drop)
}

/// Set a real server's weight; with 0 it gets no new connections and keeps the
/// old ones, as kube-proxy does while a server terminates.
pub fn set_weight(node: &Node, service: Ipv4Addr, backend: Ipv4Addr, weight: u8) -> Result<()> {
    let line = format!("ipvsadm -e -u {service}:53 -r {backend}:53 -m -w {weight}");
    node.namespace().run(&line).map(drop)
}
