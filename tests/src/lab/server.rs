//! The DNS servers of the lab: dnsmasq, the ancestor of kube-dns, with a
//! handful of fixed records. Its package brings no service along, so having it
//! installed changes nothing on anybody's machine.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::node::Node;
use super::pod::Pod;
use super::process::{AMPLE, Process};

/// The server's program.
pub(super) const PROGRAM: &str = "dnsmasq";
/// A name every server knows, with A and AAAA.
pub const NAME: &str = "cart.shop.svc.cluster.local.";
/// Every name a server knows, each with A and AAAA.
pub const NAMES: [&str; 4] = [
    NAME,
    "api.shop.svc.cluster.local.",
    "orders.shop.svc.cluster.local.",
    "ledger.batch.svc.cluster.local.",
];
/// A name with so much text that its answer needs EDNS, and three IP fragments.
pub const BIG_NAME: &str = "big.shop.svc.cluster.local.";
/// A name in the cluster's domain that does not exist.
pub const MISSING_NAME: &str = "missing.shop.svc.cluster.local.";

/// A name outside the cluster that a server may know.
pub const OUTSIDE: &str = "www.example.com";
/// One beside it that does not exist.
pub const MISSING_OUTSIDE: &str = "missing.example.com";

/// Addresses of [`OUTSIDE`].
const OUTSIDE_ADDRESSES: &str = "192.0.2.80,2001:db8::80";

/// How a server differs from a healthy one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Answer only clients on the server's own subnet and say nothing to all
    /// others: dnsmasq's `--local-service`, a well-known way to get a server
    /// that takes every query and answers none. A pod's subnet is empty.
    pub local_only: bool,
    /// Forward names outside the cluster's domain to this resolver, and log
    /// every such query.
    pub upstream: Option<Ipv4Addr>,
    /// Know no names at all, so that everything is forwarded.
    pub knows_nothing: bool,
    /// Know [`OUTSIDE`], and that nothing else is beside it.
    pub outside: bool,
    /// Know [`OUTSIDE`] with the pods' first search suffix, as `autopath` does.
    pub outside_in_search: bool,
    /// Listen on this address only.
    pub listen: Option<Ipv4Addr>,
}

/// Start a server in `pod` and wait until it serves.
pub fn start(pod: &Pod, options: &Options) -> Result<Process> {
    serving(pod.spawn(command(options))?)
}

/// Start a server of the node itself, outside any pod, as a unit of that name.
pub fn start_on_host(node: &Node, unit: &str, options: &Options) -> Result<Process> {
    serving(node.spawn_on_host(unit, command(options))?)
}

/// The server once it serves.
pub(crate) fn serving(mut server: Process) -> Result<Process> {
    server.wait_for("started", AMPLE)?;
    Ok(server)
}

/// The command of a server.
pub(crate) fn command(options: &Options) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args([
        "--keep-in-foreground",
        "--log-facility=-",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--user=root",
        "--no-resolv",
        "--no-hosts",
        "--no-poll",
        "--cache-size=0",
        "--edns-packet-max=4096",
    ]);
    if !options.knows_nothing {
        command.args(names());
    }
    if let Some(address) = options.listen {
        command.args(["--bind-interfaces", &format!("--listen-address={address}")]);
    }
    if options.outside {
        command
            .arg("--local=/example.com/")
            .arg(format!("--host-record={OUTSIDE},{OUTSIDE_ADDRESSES}"));
    }
    if options.outside_in_search {
        command.arg(format!("--host-record={OUTSIDE}.shop.svc.cluster.local,{OUTSIDE_ADDRESSES}"));
    }
    if options.local_only {
        command.arg("--local-service");
    }
    if let Some(upstream) = options.upstream {
        command.arg("--log-queries").arg(format!("--server={upstream}"));
    }
    command
}

/// The options that make a server know the cluster's names.
fn names() -> Vec<String> {
    let mut options = vec![
        "--local=/cluster.local/".to_owned(),
        format!("--txt-record={}{}", BIG_NAME.trim_end_matches('.'), big_text()),
    ];
    for (index, name) in NAMES.iter().enumerate() {
        let name = name.trim_end_matches('.');
        let number = 10 + index;
        options.push(format!("--host-record={name},10.96.1.{number},fd00:10:96::1{number}"));
    }
    options
}

/// Twelve strings of 250 bytes.
fn big_text() -> String {
    format!(",{}", "x".repeat(250)).repeat(12)
}

/// A server pod's link to the point-to-point pods.
pub const TO_PODS: &str = "eth0";
/// A server pod's link to the bridge.
pub const TO_BRIDGE: &str = "eth1";

/// Let everything the server sends over one of its links wait in the kernel
/// first.
pub fn set_delay(pod: &Pod, device: &str, delay: Duration) -> Result<()> {
    let millis = delay.as_millis();
    pod.namespace()
        .run(&format!("tc qdisc replace dev {device} root netem delay {millis}ms limit 10000"))
        .map(drop)
}

/// Undo [`set_delay`] on both links.
pub fn clear_delays(pod: &Pod) -> Result<()> {
    for device in [TO_PODS, TO_BRIDGE] {
        if pod.namespace().run(&format!("tc qdisc show dev {device}"))?.contains("netem") {
            pod.namespace().run(&format!("tc qdisc delete dev {device} root"))?;
        }
    }
    Ok(())
}
