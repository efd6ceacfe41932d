//! Gives up what is only needed for attaching.
//!
//! What stays, and why: CAP_BPF to read maps (kernels up to 5.18 want it for
//! every map access where unprivileged BPF is off), CAP_SYS_ADMIN never,
//! CAP_DAC_READ_SEARCH to resolve cgroup ids to paths, CAP_SYS_PTRACE to read
//! other processes' network namespace and command, CAP_NET_ADMIN to read NAT
//! rules and conntrack's counters: the kernel asks for it even for reading
//! (net/netfilter/nfnetlink.c, nfnetlink_rcv; net/netfilter/x_tables.c).

use anyhow::Context;
use caps::{CapSet, Capability, CapsHashSet};

const KEPT: [Capability; 4] = [
    Capability::CAP_BPF,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_NET_ADMIN,
];

/// Drops every capability that reading does not need, for good.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn drop_unneeded() -> anyhow::Result<()> {
    let permitted = caps::read(None, CapSet::Permitted).context("cannot read capabilities")?;
    let kept: CapsHashSet = KEPT.into_iter().filter(|cap| permitted.contains(cap)).collect();
    caps::set(None, CapSet::Effective, &kept).context("effective set")?;
    caps::set(None, CapSet::Permitted, &kept).context("permitted set")?;
    Ok(())
}
