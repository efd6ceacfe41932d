//! What a client says about its own queries: the truth dnsprobe is held to.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::message::QueryType;

/// One client's own count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Queries handed to the kernel, including those it refused.
    pub sent: u64,
    /// Answers with the right id from the address that was asked.
    pub answered: u64,
    /// Queries the kernel refused to send.
    pub send_errors: u64,
    /// Queries ended by an error on the socket (ICMP port unreachable).
    pub refused: u64,
    /// Answers from an address that was not asked.
    pub alien: u64,
    /// Response codes of the answers.
    pub rcodes: BTreeMap<String, u64>,
    /// Send to receive, as the client saw it.
    pub rtt: Option<Latency>,
    /// Every query that got no answer.
    pub unanswered: Vec<Unanswered>,
}

impl Report {
    /// Queries that got no usable answer.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.sent - self.answered
    }

    /// Queries the kernel refused to send with this error (`EAGAIN`, ...).
    #[must_use]
    pub fn send_errors_of(&self, error: &str) -> u64 {
        self.unanswered.iter().filter(|query| query.send_error.as_deref() == Some(error)).count()
            as u64
    }
}

/// A query without an answer, by what is on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unanswered {
    /// The client's address as it left the pod.
    pub client: SocketAddr,
    /// The address that was asked.
    pub server: SocketAddr,
    /// Transaction id.
    pub id: u16,
    /// Question type.
    #[serde(rename = "type")]
    pub kind: QueryType,
    /// The error of the system call, if the kernel refused to send it.
    #[serde(default)]
    pub send_error: Option<String>,
}

/// Percentiles of a client's measurements, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Measurements.
    pub count: u64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Slowest.
    pub max: f64,
}

impl Latency {
    /// Nearest-rank percentiles; `None` without measurements.
    #[must_use]
    pub fn of(mut seconds: Vec<f64>) -> Option<Self> {
        seconds.sort_by(f64::total_cmp);
        let max = *seconds.last()?;
        let rank = |percent: usize| seconds[(seconds.len() * percent).div_ceil(100) - 1];
        Some(Self { count: seconds.len() as u64, p50: rank(50), p95: rank(95), p99: rank(99), max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let latency = Latency::of((1..=200).rev().map(f64::from).collect()).unwrap();
        assert_eq!(
            (latency.p50, latency.p95, latency.p99, latency.max),
            (100.0, 190.0, 198.0, 200.0)
        );
        assert_eq!(Latency::of(vec![3.0]).unwrap().p99, 3.0);
        assert_eq!(Latency::of(vec![]), None);
    }
}
