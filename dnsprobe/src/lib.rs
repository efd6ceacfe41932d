//! dnsprobe: per-pod DNS latency and proven causes of lost queries, from the
//! kernel of one node.
//!
//! The flow of data goes one way: `kernel` makes [`engine::Observation`]s,
//! `engine` turns them into verdicts with the help of `identity` and `dns`,
//! `stats` adds up, `output` prints, `command` wires the rooms together.

pub mod capture;
pub mod cluster;
pub mod command;
pub mod cri;
pub mod dns;
pub mod engine;
pub mod findings;
pub mod identity;
pub mod kernel;
pub mod messages;
pub mod metrics;
pub mod otlp;
pub mod output;
pub mod query;
pub mod record;
pub mod report;
pub mod serve;
pub mod setup;
pub mod stats;
pub mod ticket;
pub mod time;
