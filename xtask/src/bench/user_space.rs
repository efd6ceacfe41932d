//! dnsprobe's own process: what it uses, idle and with traffic.

use serde::{Deserialize, Serialize};

use super::line::Line;

/// With so many pods. Processor time is guest instructions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct UserSpace {
    pub(super) pods: u32,
    pub(super) queries_per_second: u32,
    pub(super) idle_wake_ups_per_second: f64,
    pub(super) wake_ups_per_second: f64,
    /// One reading of all counters, rendered, and four sweeps.
    pub(super) idle_ns_per_second: u64,
    pub(super) ns_per_second: u64,
    pub(super) resident_bytes: u64,
    /// Calls of the allocator, idle.
    pub(super) allocations_per_second: f64,
}

impl UserSpace {
    pub(super) fn resident_mib(&self) -> f64 {
        self.resident_bytes as f64 / f64::from(1 << 20)
    }

    pub(super) fn idle_ms(&self) -> f64 {
        self.idle_ns_per_second as f64 / 1e6
    }

    pub(super) fn loaded_ms(&self) -> f64 {
        self.ns_per_second as f64 / 1e6
    }
}

/// One per number of pods.
pub(super) fn read(lines: &[Line]) -> Vec<UserSpace> {
    lines
        .iter()
        .filter_map(|line| match line {
            Line::UserSpace(user_space) => Some(*user_space),
            _ => None,
        })
        .collect()
}
