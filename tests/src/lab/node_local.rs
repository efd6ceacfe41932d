//! A node-local DNS cache: a process of the node on a link-local address of its
//! own, whose packets conntrack does not track.

use anyhow::Result;

use super::cast::NODE_LOCAL_DNS;
use super::node::Node;
use super::process::Process;
use super::server::{self, Options};

const DEVICE: &str = "nodelocaldns";
/// The unit it runs in.
pub const UNIT: &str = "node-local-dns.service";

/// A cache that runs, with its device.
#[derive(Debug)]
pub struct Cache<'a> {
    node: &'a Node,
    server: Option<Process>,
}

impl<'a> Cache<'a> {
    /// Make the address and start the server on it.
    pub fn start(node: &'a Node) -> Result<Self> {
        let mut cache = Self { node, server: None };
        node.namespace().ip(&format!(
            "link add {DEVICE} type dummy\n\
             addr add {NODE_LOCAL_DNS}/32 dev {DEVICE}\n\
             link set {DEVICE} up\n"
        ))?;
        let options = Options { listen: Some(NODE_LOCAL_DNS), ..Options::default() };
        cache.server = Some(server::start_on_host(node, UNIT, &options)?);
        Ok(cache)
    }

    /// The raw rules that keep its packets out of conntrack.
    #[must_use]
    pub fn untracked() -> [String; 4] {
        let rule = |chain: &str, direction: &str, port: &str| {
            format!("-A {chain} {direction} {NODE_LOCAL_DNS}/32 -p udp {port} 53 -j CT --notrack")
        };
        [
            rule("PREROUTING", "-d", "--dport"),
            rule("PREROUTING", "-s", "--sport"),
            rule("OUTPUT", "-d", "--dport"),
            rule("OUTPUT", "-s", "--sport"),
        ]
    }

    /// End the server; the address stays.
    pub fn stop(&mut self) {
        self.server = None;
    }
}

impl Drop for Cache<'_> {
    fn drop(&mut self) {
        self.stop();
        let _ = self.node.namespace().run(&format!("ip link delete {DEVICE}"));
    }
}
