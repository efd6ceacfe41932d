//! Gives up what is only needed for attaching.
//!
//! What stays, and why: CAP_BPF to read maps (kernels up to 5.18 want it for
//! every map access where unprivileged BPF is off),
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

/// What attaching takes in addition.
const TO_ATTACH: [Capability; 4] = [
    Capability::CAP_PERFMON,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_SYSLOG,
    Capability::CAP_SYS_RESOURCE,
];

/// Whether hooks are attached once more later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attaching {
    /// Never: what it takes is given up for good.
    Once,
    /// What it takes is out of effect until then.
    Again,
}

/// Drops every capability that reading does not need.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn drop_unneeded(attaching: Attaching) -> anyhow::Result<()> {
    let permitted = caps::read(None, CapSet::Permitted).context("cannot read capabilities")?;
    let only = |wanted: &[Capability]| -> CapsHashSet {
        wanted.iter().copied().filter(|cap| permitted.contains(cap)).collect()
    };
    let kept = only(&KEPT);
    caps::set(None, CapSet::Effective, &kept).context("effective set")?;
    let later = match attaching {
        Attaching::Once => CapsHashSet::new(),
        Attaching::Again => only(&TO_ATTACH),
    };
    let permitted = kept.union(&later).copied().collect();
    caps::set(None, CapSet::Permitted, &permitted).context("permitted set")?;
    Ok(())
}

/// Does something with the capabilities that were kept for attaching in effect.
///
/// # Errors
/// Those of `attach`, or when the kernel refuses to change the capabilities.
pub(super) fn to_attach<T>(attach: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let permitted = caps::read(None, CapSet::Permitted).context("cannot read capabilities")?;
    let effective = caps::read(None, CapSet::Effective).context("cannot read capabilities")?;
    caps::set(None, CapSet::Effective, &permitted).context("effective set")?;
    let result = attach();
    caps::set(None, CapSet::Effective, &effective).context("effective set")?;
    result
}
