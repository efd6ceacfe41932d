//! The machine as the measurements need it: every module that dnsprobe hooks is
//! loaded, and we are a pod.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::row::Netfilter;
use crate::lab::cast::CART;
use crate::lab::shell::Namespace;
use crate::lab::undo::Undo;

/// What dnsprobe can hook, and what the traffic needs.
const MODULES: &str = "nf_conntrack nf_conntrack_netlink nf_nat nf_tables nft_ct ip_vs ip_vs_rr";

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
        become_a_pod(Path::new("/sys/fs/cgroup"))?;
        Ok(Self(()))
    }

    /// Puts rules in force until the guard goes.
    pub(super) fn netfilter(&self, netfilter: Netfilter) -> Result<Option<Undo>> {
        if netfilter == Netfilter::Idle {
            return Ok(None);
        }
        let undo = Undo::later("nft delete table ip bench");
        Namespace::Own.run_with_input("nft -f -", CONNTRACK)?;
        Ok(Some(undo))
    }
}

/// Sockets belong to the cgroup of the process that makes them. In the root of
/// the hierarchy dnsprobe tells processes apart by their command, which pods do
/// not pay for.
fn become_a_pod(cgroups: &Path) -> Result<()> {
    let cgroup = cgroups.join(CART.cgroup());
    fs::create_dir_all(&cgroup)?;
    // "0" is the writing process itself.
    fs::write(cgroup.join("cgroup.procs"), "0")
        .with_context(|| format!("cannot enter {}", cgroup.display()))
}
