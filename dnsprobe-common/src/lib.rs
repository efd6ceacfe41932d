//! Plain data that crosses the border between the kernel programs and user
//! space, and the arithmetic both sides must agree on.
//!
//! Everything here is `repr(C)` with named padding and a checked size, has no
//! behaviour beyond arithmetic, and knows nothing of I/O or policy.

#![cfg_attr(not(any(test, feature = "user")), no_std)]
#![deny(missing_docs)]

pub mod capture;
pub mod cgroup;
pub mod config;
pub mod dns;
pub mod event;
pub mod flow;
pub mod histogram;
pub mod sample;
pub mod slots;
pub mod stats;
pub mod tcp;

#[cfg(feature = "user")]
mod pod;

/// Nanoseconds of `CLOCK_BOOTTIME`'s sibling `CLOCK_MONOTONIC`, as returned by
/// `bpf_ktime_get_ns`. The only clock in the kernel programs.
pub type KernelNs = u64;
