//! Transactions made by hand, as the engine would make them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use dnsprobe_common::flow::{Role, Transport};

use super::{Diagnosis, Findings, Options};
use crate::{
    dns::{QType, Question, Record},
    engine::{Parts, Query, Transaction},
    identity::Owner,
    stats::{Buckets, Completeness, Counts, PodCounts, Snapshot},
    time::Timestamp,
};

pub(super) const MS: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000 * MS;

/// The address of the DNS service.
pub(super) fn service() -> SocketAddr {
    SocketAddr::from(([10, 96, 0, 10], 53))
}

/// The address of a server pod.
pub(super) fn backend(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 244, 0, last], 53))
}

pub(super) fn pod(name: &str) -> Arc<Owner> {
    Arc::new(Owner::Pod {
        namespace: Some("shop".into()),
        pod: Some(name.into()),
        container: None,
        uid: format!("uid-of-{name}"),
        details: crate::identity::PodDetails::default(),
    })
}

/// A moment so long after the start.
pub(super) fn at(ns: u64) -> Timestamp {
    Timestamp::from_unix_ns(1_000 * SECOND + ns)
}

/// A client's transaction of the pod `cart`: NOERROR after 2 ms.
pub(super) fn client(sent_ns: u64, name: &str, id: u16) -> Transaction {
    Transaction {
        time: at(sent_ns + 2 * MS),
        owner: pod("cart"),
        role: Role::Client,
        query: Query {
            question: Some(Question { name: name.parse().unwrap(), qtype: QType::A }),
            id,
            client: SocketAddr::from(([10, 244, 0, 11], 40_000)),
            server: service(),
            transport: Transport::Udp,
            sent: at(sent_ns),
            pid: Some(100),
            command: Some("app".into()),
            remote: None,
            backend: None,
        },
        rcode: Some(0),
        answer: Some(Record { name: name.parse().unwrap(), rtype: QType::A }),
        answer_flags: Some(0x8180),
        exchange: None,
        truncated: false,
        translated: None,
        latency_seconds: 0.002,
        parts: Parts::Client { answer_queued_seconds: Some(0.0019), read_seconds: Some(0.0001) },
    }
}

/// The server's end of a client's transaction: half a millisecond on the way,
/// then the rest in the server.
pub(super) fn server_end(client: &Transaction, queue_ms: u64, taken_ms: u64) -> Transaction {
    let start_ns = client.query.sent.unix_ns() - 1_000 * SECOND + MS / 2;
    Transaction {
        time: at(start_ns + (queue_ms + taken_ms) * MS),
        owner: pod("coredns"),
        role: Role::Server,
        query: Query {
            server: backend(2),
            sent: at(start_ns),
            pid: Some(200),
            ..client.query.clone()
        },
        latency_seconds: (queue_ms + taken_ms) as f64 / 1e3,
        parts: Parts::Server {
            query_read_seconds: Some(queue_ms as f64 / 1e3),
            answered_seconds: Some(taken_ms as f64 / 1e3),
        },
        ..client.clone()
    }
}

/// What the server asked its upstream meanwhile.
pub(super) fn upstream(end: &Transaction, after_ms: u64, taken_ms: u64) -> Transaction {
    let start_ns = end.query.sent.unix_ns() - 1_000 * SECOND + after_ms * MS;
    Transaction {
        time: at(start_ns + taken_ms * MS),
        owner: pod("coredns"),
        role: Role::Client,
        query: Query {
            id: end.query.id.wrapping_add(7),
            client: SocketAddr::from(([10, 244, 0, 2], 50_000)),
            server: SocketAddr::from(([192, 0, 2, 53], 53)),
            sent: at(start_ns),
            pid: Some(200),
            ..end.query.clone()
        },
        latency_seconds: taken_ms as f64 / 1e3,
        parts: Parts::Client {
            answer_queued_seconds: Some(taken_ms as f64 / 1e3),
            read_seconds: Some(0.0),
        },
        ..end.clone()
    }
}

impl Transaction {
    pub(super) fn with_rcode(self, rcode: u8) -> Self {
        Self { rcode: Some(rcode), answer: None, ..self }
    }

    pub(super) fn taking(self, ms: u64, read_ms: u64) -> Self {
        let sent_ns = self.query.sent.unix_ns() - 1_000 * SECOND;
        Self {
            time: at(sent_ns + ms * MS),
            latency_seconds: ms as f64 / 1e3,
            parts: Parts::Client {
                answer_queued_seconds: Some((ms - read_ms) as f64 / 1e3),
                read_seconds: Some(read_ms as f64 / 1e3),
            },
            ..self
        }
    }
}

pub(super) fn findings() -> Findings {
    let options = Options {
        slow_after: Duration::from_millis(100),
        cluster_domain: None,
        ipvs_udp_timeout: Duration::from_secs(300),
    };
    Findings::new(options, Box::new(|_| true))
}

/// The counters of one client, as the statistics would have them.
pub(super) fn snapshot(queries: u64, answered: u64) -> Snapshot {
    let total = Counts { queries, answered, ..Counts::default() };
    Snapshot {
        time: at(60 * SECOND),
        node: None,
        window_seconds: 60.0,
        since_seconds: 60.0,
        pods: vec![PodCounts {
            owner: pod("cart"),
            role: Role::Client,
            window: total.clone(),
            total,
            latency: Buckets::default(),
            read_delay: Buckets::default(),
            servers: Vec::new(),
        }],
        completeness: Completeness::default(),
    }
}

/// What these transactions, in this order, add up to.
pub(super) fn diagnose(transactions: impl IntoIterator<Item = Transaction>) -> Diagnosis {
    let mut findings = findings();
    let mut count = 0;
    for transaction in transactions {
        findings.transaction(&transaction);
        count += u64::from(transaction.role == Role::Client);
    }
    findings.finish(&snapshot(count, count))
}

/// `code of POD` of every finding.
pub(super) fn found(diagnosis: &Diagnosis) -> Vec<String> {
    let mut found: Vec<String> = diagnosis
        .findings
        .iter()
        .flat_map(|f| f.pods.iter().map(|pod| format!("{} of {}", f.code, pod.owner)))
        .collect();
    found.sort();
    found
}
