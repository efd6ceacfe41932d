//! The machine as the measurements need it: every module that dnsprobe hooks is
//! loaded, and we are a pod.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::Result;

use super::row::Netfilter;
use super::traffic::DROPPED_PORT;
use crate::lab::cast::CART;
use crate::lab::pod::enter_cgroup;
use crate::lab::shell::Namespace;
use crate::lab::undo::Undo;

/// What dnsprobe can hook, and what the traffic needs.
const MODULES: &str =
    "nf_conntrack nf_conntrack_netlink nf_nat nf_tables nft_ct ip_vs ip_vs_rr tun";

/// A rule that any node has: it makes conntrack look at every packet.
const CONNTRACK: &str = "add table ip bench\n\
     add chain ip bench input { type filter hook input priority 0; }\n\
     add rule ip bench input ct state invalid drop\n";

/// The machine, ready.
#[derive(Debug)]
pub(super) struct Machine(());

impl Machine {
    /// Changes the machine it runs on.
    pub(super) fn prepare() -> Result<Self> {
        Namespace::Own.run(&format!("modprobe -a {MODULES}"))?;
        // More than is made here, so that no entry has to go early.
        Namespace::Own.sysctl(&["net/netfilter/nf_conntrack_max=1000000"])?;
        stay_multithreaded();
        become_a_pod()?;
        Ok(Self(()))
    }

    /// Puts rules in force until the guards go.
    pub(super) fn netfilter(&self, netfilter: Netfilter) -> Result<Vec<Undo>> {
        let dropping;
        let rules = match netfilter {
            Netfilter::Idle => return Ok(Vec::new()),
            Netfilter::Conntrack => CONNTRACK,
            Netfilter::Dropping => {
                dropping =
                    format!("{CONNTRACK}add rule ip bench input udp dport {DROPPED_PORT} drop\n");
                &dropping
            }
        };
        // The last one is dropped last.
        let undo = vec![Undo::later("nft delete table ip bench"), Undo::later("conntrack -F")];
        Namespace::Own.run_with_input("nft -f -", rules)?;
        Ok(undo)
    }
}

/// With a second thread, the kernel counts references to a socket in each of its
/// calls: 95 instructions more on 6.12. Whoever listens to a watcher is such a
/// thread, so without a watcher there has to be one as well.
fn stay_multithreaded() {
    thread::spawn(|| {
        loop {
            thread::park();
        }
    });
}

/// Sockets belong to the cgroup of the process that makes them. In the root of
/// the hierarchy dnsprobe tells processes apart by their command, which pods do
/// not pay for.
fn become_a_pod() -> Result<()> {
    let cgroup = Path::new("/sys/fs/cgroup").join(CART.cgroup());
    fs::create_dir_all(&cgroup)?;
    enter_cgroup(&cgroup)
}
