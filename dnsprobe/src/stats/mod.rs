//! How much: per-pod and per-server counts and latencies, in the window since
//! the last snapshot and since the start.

mod address;
mod aggregates;
mod buckets;
mod completeness;
mod exponential;
mod latency;
mod pod_stats;
mod role;
mod services;
mod snapshot;
mod tally;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use aggregates::AggregateChanges;
pub use buckets::{BOUNDS_SECONDS, Buckets};
pub use completeness::{Completeness, Missing};
pub use exponential::{Exponential, SCHEMA};
pub use latency::{BAND_NAMES, BANDS, LatencySummary, band, shade};
pub use pod_stats::PodStats;
pub use role::{role_name, serialize_role};
pub use services::{BackendCounts, BackendQueries, IpvsBackend, IpvsListing, ServiceCounts};
pub use snapshot::{Counts, PodCounts, ServerCounts, Snapshot};
