//! The rows of the table: which traffic is timed, under which rules.

use std::time::Duration;

use anyhow::Result;

use super::traffic::{self, Traffic};

/// A kind of traffic to time.
pub(super) struct Row {
    /// What it is called; `cargo xtask bench --only NAME`.
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// What is counted.
    pub(super) unit: &'static str,
    /// The row whose added cost is not this one's.
    pub(super) less: Option<&'static str>,
    pub(super) netfilter: Netfilter,
    pub(super) sampling: Sampling,
    pub(super) traffic: fn() -> Result<Box<dyn Traffic>>,
}

/// What of netfilter is in use. Its modules are loaded in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Netfilter {
    /// Nothing: no packet meets conntrack.
    Idle,
    /// One rule that asks for the state of the connection: conntrack sees every
    /// packet.
    Conntrack,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampling {
    /// Units before the first round.
    pub(super) warm_up: u32,
    pub(super) rounds: u32,
    length: Length,
}

/// How long a round is.
#[derive(Clone, Copy, Debug)]
enum Length {
    /// At least this long. A whole second holds as much of a watcher's periodic
    /// work as any other.
    Time(Duration),
}

impl Sampling {
    const fn seconds(rounds: u32) -> Self {
        Self { warm_up: 2000, rounds, length: Length::Time(Duration::from_secs(1)) }
    }

    pub(super) fn is_enough(&self, _units: u64, elapsed: Duration) -> bool {
        match self.length {
            Length::Time(time) => elapsed >= time,
        }
    }
}

/// Every row, in the order they are measured and shown.
pub(super) const ALL: &[Row] = &[
    Row {
        name: "dns-transaction",
        about: "query and answer over loopback, client and server on this node, conntrack in use",
        unit: "transaction",
        less: None,
        netfilter: Netfilter::Conntrack,
        sampling: Sampling::seconds(2),
        traffic: || traffic::ping_pong(traffic::DNS_PORT),
    },
    Row {
        name: "dns-transaction-without-conntrack",
        about: "the same, conntrack not in use",
        unit: "transaction",
        less: None,
        netfilter: Netfilter::Idle,
        sampling: Sampling::seconds(2),
        traffic: || traffic::ping_pong(traffic::DNS_PORT),
    },
    Row {
        name: "non-dns-transaction",
        about: "the same packets on another port, conntrack in use",
        unit: "transaction",
        less: None,
        netfilter: Netfilter::Conntrack,
        sampling: Sampling::seconds(2),
        traffic: || traffic::ping_pong(traffic::OTHER_PORT),
    },
    Row {
        name: "non-dns-transaction-without-conntrack",
        about: "the same, conntrack not in use",
        unit: "transaction",
        less: None,
        netfilter: Netfilter::Idle,
        sampling: Sampling::seconds(2),
        traffic: || traffic::ping_pong(traffic::OTHER_PORT),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        for (index, row) in ALL.iter().enumerate() {
            assert!(ALL[..index].iter().all(|other| other.name != row.name), "{}", row.name);
            assert!(row.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", row.name);
        }
    }
}
