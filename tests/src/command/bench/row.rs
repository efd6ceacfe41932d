//! The rows of the table: which traffic is timed, under which rules.

use std::time::Duration;

use anyhow::{Context, Result};

use super::traffic::{self, DNS_PORT, OTHER_PORT, Traffic};

/// A kind of traffic to time.
pub(super) struct Row {
    /// What it is called; `cargo xtask bench --only NAME`.
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// What is counted.
    pub(super) unit: &'static str,
    /// The row whose added cost is not this one's.
    pub(super) less: Option<&'static str>,
    /// Whether the packets are to or from port 53.
    pub(super) is_dns: bool,
    /// Whether it is measured under dnsprobe's peers, too.
    pub(super) peers: bool,
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
    /// The same, and one that drops what comes to a certain port.
    Dropping,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampling {
    /// Repetitions before the first round.
    pub(super) warm_up: u32,
    length: Length,
}

/// How long a round is.
#[derive(Clone, Copy, Debug)]
enum Length {
    /// At least this long.
    Time(Duration),
    /// So many units.
    Units(u64),
}

impl Sampling {
    /// Even, so that one half can be held against the other.
    pub(super) const ROUNDS: u32 = 16;

    /// Two seconds in all: whole seconds hold as much of a watcher's periodic
    /// work as any others.
    const LONG: Self = Self { warm_up: 2000, length: Length::Time(Duration::from_millis(125)) };
    /// For traffic that leaves something behind.
    const FEW: Self = Self { warm_up: 1000, length: Length::Units(3500) };

    pub(super) fn is_enough(&self, units: u64, elapsed: Duration) -> bool {
        match self.length {
            Length::Time(time) => elapsed >= time,
            Length::Units(least) => units >= least,
        }
    }
}

const TRANSACTION: Row = Row {
    name: "",
    about: "",
    unit: "transaction",
    less: None,
    is_dns: true,
    peers: false,
    netfilter: Netfilter::Conntrack,
    sampling: Sampling::LONG,
    traffic: || traffic::ping_pong(DNS_PORT),
};

/// Every row, in the order they are measured and shown.
pub(super) const ALL: &[Row] = &[
    Row {
        name: "dns-transaction",
        peers: true,
        about: "query and answer over loopback, client and server on this node, conntrack in use",
        ..TRANSACTION
    },
    Row {
        name: "dns-transaction-without-conntrack",
        peers: true,
        about: "the same, conntrack not in use",
        netfilter: Netfilter::Idle,
        ..TRANSACTION
    },
    Row {
        name: "dns-client-only",
        about: "query and answer through a device, the server on another node",
        traffic: || traffic::client_here(DNS_PORT),
        ..TRANSACTION
    },
    Row {
        name: "dns-server-only",
        about: "query and answer through a device, the client on another node",
        traffic: || traffic::server_here(DNS_PORT),
        ..TRANSACTION
    },
    Row {
        name: "non-dns-transaction",
        peers: true,
        about: "as dns-transaction on another port: two packets, four socket operations",
        is_dns: false,
        traffic: || traffic::ping_pong(OTHER_PORT),
        ..TRANSACTION
    },
    Row {
        name: "non-dns-transaction-without-conntrack",
        peers: true,
        about: "the same, conntrack not in use",
        netfilter: Netfilter::Idle,
        is_dns: false,
        traffic: || traffic::ping_pong(OTHER_PORT),
        ..TRANSACTION
    },
    Row {
        name: "non-dns-server-only",
        about: "as dns-server-only on another port",
        is_dns: false,
        traffic: || traffic::server_here(OTHER_PORT),
        ..TRANSACTION
    },
    Row {
        name: "conntrack-new-dns",
        about: "dns-server-only, each query a new entry; less dns-server-only",
        unit: "new entry",
        less: Some("dns-server-only"),
        sampling: Sampling::FEW,
        traffic: || traffic::server_here_new_flows(DNS_PORT),
        ..TRANSACTION
    },
    Row {
        name: "conntrack-new-other",
        about: "non-dns-server-only, each packet in a new entry; less non-dns-server-only",
        unit: "new entry",
        less: Some("non-dns-server-only"),
        sampling: Sampling::FEW,
        is_dns: false,
        traffic: || traffic::server_here_new_flows(OTHER_PORT),
        ..TRANSACTION
    },
    Row {
        name: "dropped-non-dns",
        about: "a packet that comes in on a device and is dropped by a rule, not to port 53",
        unit: "packet",
        netfilter: Netfilter::Dropping,
        is_dns: false,
        traffic: traffic::dropped,
        ..TRANSACTION
    },
    Row {
        name: "tcp-segment",
        about: "a small segment over loopback, conntrack in use",
        unit: "segment",
        is_dns: false,
        traffic: || traffic::tcp(OTHER_PORT),
        ..TRANSACTION
    },
];

/// These rows and those they build on; all when no name is given.
pub(super) fn choose(names: &[String]) -> Result<Vec<&'static Row>> {
    let find = |name: &str| ALL.iter().find(|row| row.name == name);
    let mut wanted: Vec<&str> = Vec::new();
    for name in names {
        let row = find(name).with_context(|| format!("there is no row {name} to measure"))?;
        wanted.push(row.name);
        wanted.extend(row.less);
    }
    Ok(ALL.iter().filter(|row| wanted.is_empty() || wanted.contains(&row.name)).collect())
}

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

    #[test]
    fn what_a_row_builds_on_is_measured_too_and_before() {
        let rows = choose(&["conntrack-new-dns".into()]).unwrap();
        let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
        assert_eq!(names, ["dns-server-only", "conntrack-new-dns"]);
        assert_eq!(choose(&[]).unwrap().len(), ALL.len());
        assert!(choose(&["x".into()]).is_err());
    }

    #[test]
    fn a_rows_name_says_whether_it_is_dns() {
        for row in ALL {
            let named = row.name.starts_with("dns-") || row.name.ends_with("-new-dns");
            assert_eq!(row.is_dns, named, "{}", row.name);
        }
    }
}
