//! Results made by hand, as the engine and the statistics would make them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use dnsprobe_common::flow::{Role, Transport};
use serde_json::json;

use crate::{
    dns::{QType, Question},
    engine::{Cause, Evidence, Parts, Query, Sibling, Transaction, Verdict},
    identity::{Owner, Remote, RemoteKind, RemoteSource},
    stats::{
        BackendCounts, Buckets, Completeness, Counts, IpvsListing, LatencySummary, PodCounts,
        ServerCounts, ServiceCounts, Snapshot,
    },
    time::Timestamp,
};

fn at(seconds: u64) -> Timestamp {
    Timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn server(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 96, 0, last], 53))
}

pub(crate) fn cart() -> Arc<Owner> {
    pod("cart-0")
}

pub(crate) fn pod(name: &str) -> Arc<Owner> {
    Arc::new(Owner::Pod {
        namespace: Some("shop".into()),
        pod: Some(name.into()),
        container: None,
        uid: format!("uid-of-{name}"),
        details: crate::identity::PodDetails::default(),
    })
}

fn query(qtype: QType, id: u16, asked: SocketAddr) -> Query {
    Query {
        question: Some(Question { name: "race.test.svc".parse().unwrap(), qtype }),
        id,
        client: SocketAddr::from(([10, 244, 0, 11], 40_000)),
        server: asked,
        transport: Transport::Udp,
        sent: at(10),
        pid: Some(123),
        command: Some("dnsq".into()),
        remote: None,
        backend: None,
    }
}

pub(crate) fn remote(kind: RemoteKind, name: &str) -> Remote {
    Remote {
        kind,
        namespace: Some("kube-system".into()),
        name: Some(name.into()),
        source: RemoteSource::Iptables,
    }
}

/// A service with two backends, of which IPVS has one.
pub(crate) fn services() -> Vec<ServiceCounts> {
    let address = |last: u8| SocketAddr::from(([10, 244, 0, last], 53));
    let backend = |last, queries, ipvs| BackendCounts {
        address: address(last),
        remote: Some(Arc::new(remote(RemoteKind::Pod, "coredns-0"))),
        queries,
        ipvs,
    };
    let ipvs =
        IpvsListing { weight: Some(1), active_connections: Some(0), inactive_connections: Some(9) };
    let service = SocketAddr::from(([10, 96, 0, 10], 53));
    let backends = vec![backend(2, 6, Some(ipvs)), backend(3, 2, None)];
    vec![ServiceCounts { service, backends }]
}

pub(crate) fn transaction() -> Transaction {
    Transaction {
        time: at(10),
        owner: cart(),
        role: Role::Client,
        query: query(QType::AAAA, 4660, server(10)),
        rcode: Some(0),
        answer: None,
        answer_flags: Some(0x8180),
        exchange: None,
        translated: None,
        truncated: false,
        latency_seconds: 0.0201,
        parts: Parts::Client { answer_queued_seconds: Some(0.0200), read_seconds: Some(0.0001) },
    }
}

pub(crate) fn clash() -> Verdict {
    let reply = "udp 10.244.0.2:53 -> 10.244.0.11:40000";
    let tuples = json!({
        "loser": { "original": "udp 10.244.0.11:40000 -> 10.96.0.10:53", "reply": reply },
        "winner": { "original": "udp 10.244.0.11:40000 -> 10.96.0.11:53", "reply": reply },
    });
    Verdict {
        time: at(11),
        cause: Cause::ConntrackClash,
        loss: true,
        owner: cart(),
        query: query(QType::AAAA, 4660, server(10)),
        summary: "the kernel dropped it".into(),
        advice: "use a node-local DNS cache",
        translated: None,
        sibling: Some(Sibling { owner: cart(), query: query(QType::A, 4661, server(11)) }),
        pair: false,
        evidence: vec![Evidence {
            at: at(11),
            fact: "__nf_conntrack_confirm returned NF_DROP".into(),
            detail: [("tuples".to_owned(), tuples)].into_iter().collect(),
        }],
        missing: Vec::new(),
    }
}

pub(crate) fn near_miss() -> Verdict {
    Verdict {
        cause: Cause::ConntrackClashResolved,
        loss: false,
        summary: "the kernel merged the entries".into(),
        advice: "nothing was lost",
        sibling: None,
        pair: true,
        evidence: Vec::new(),
        ..clash()
    }
}

fn counts(queries: u64, answered: u64, lost: u64) -> Counts {
    let filled = |cause, count| {
        if count > 0 { BTreeMap::from([(cause, count)]) } else { BTreeMap::new() }
    };
    Counts {
        queries,
        answered,
        lost: filled(Cause::ConntrackClash, lost),
        lost_total: lost,
        near_misses: filled(Cause::ConntrackClashResolved, 2 * lost),
        queries_per_second: queries as f64,
        rcodes: [("NOERROR".into(), answered - lost), ("NXDOMAIN".into(), lost)]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect(),
        latency_seconds: (answered > 0).then_some(LatencySummary {
            count: answered,
            p50: 0.0201,
            p95: 0.25,
            p99: 0.000_082,
            max: 5.004,
            mean: 0.02,
        }),
        ..Counts::default()
    }
}

/// A troubled client and a healthy server.
pub(crate) fn snapshot() -> Snapshot {
    let row = |owner, role, window, total: Counts, servers: &[u8]| PodCounts {
        owner,
        role,
        window,
        latency: Buckets::default(),
        read_delay: Buckets::default(),
        servers: servers
            .iter()
            .map(|&last| ServerCounts {
                server: server(last),
                remote: (last == 10).then(|| Arc::new(remote(RemoteKind::Service, "kube-dns"))),
                total: total.clone(),
            })
            .collect(),
        total,
    };
    Snapshot {
        pods: vec![
            row(cart(), Role::Client, counts(6, 6, 0), counts(10, 9, 1), &[10, 11]),
            row(pod("dns-0"), Role::Server, Counts::default(), Counts::default(), &[10]),
        ],
        ..empty_snapshot()
    }
}

pub(super) fn empty_snapshot() -> Snapshot {
    Snapshot {
        time: at(12),
        node: None,
        window_seconds: 1.0,
        since_seconds: 12.0,
        pods: Vec::new(),
        completeness: Completeness::default(),
    }
}
