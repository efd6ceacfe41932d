//! The A/AAAA race made certain, without queueing to user space: on a bridge,
//! `br_netfilter` translates a query's destination and then hands it to the
//! neighbour of the chosen backend. While that neighbour's link-layer address
//! is unknown the packet waits there, its conntrack entry unconfirmed. Two
//! queries of one socket, sent to two backends, then wait side by side, and
//! collide when the neighbours become known.
//!
//! It happens by itself on nodes with a bridge whenever the DNS pods' ARP
//! entries have expired. It needs one thread and works on every kernel.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::node::Node;
use super::spec::{BRIDGE, Spec};

/// `ip` command that enters a pod's link-layer address on the node for good.
/// Nobody on the bridge answers ARP: only these entries count.
pub(super) fn neighbour_command(spec: &Spec) -> String {
    let (address, mac) = (spec.bridge_address(), spec.mac(true, 1));
    format!("neigh replace {address} lladdr {mac} dev {BRIDGE} nud permanent\n")
}

/// Packets to these servers wait from now on.
pub fn forget_neighbours(node: &Node, servers: &[Spec]) -> Result<()> {
    let forget = |spec: &Spec| format!("neigh delete {} dev {BRIDGE}\n", spec.bridge_address());
    node.namespace().ip(&servers.iter().map(forget).collect::<String>())
}

/// Let the waiting packets go, those of the first server first.
pub fn learn_neighbours(node: &Node, servers: &[Spec]) -> Result<()> {
    node.namespace().ip(&servers.iter().map(neighbour_command).collect::<String>())
}

/// Packets that have taken a DNAT rule to one of the servers' bridge
/// addresses so far.
pub fn translated(node: &Node) -> Result<u64> {
    let listing = node.namespace().run("iptables-legacy -t nat -L -n -v -x")?;
    let on_bridge = |line: &&str| line.contains("to:10.245.");
    let packets = |line: &str| line.split_whitespace().next()?.parse::<u64>().ok();
    Ok(listing.lines().filter(on_bridge).filter_map(packets).sum())
}

/// Wait until `count` packets in all have been translated, so that they wait
/// for their neighbours now.
pub fn wait_for_translated(node: &Node, count: u64) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let seen = translated(node)?;
        if seen >= count {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{seen} of {count} queries reached the service");
        sleep(Duration::from_millis(20));
    }
}
