//! `slow-*`: which part of a slow transaction's latency was the longest.
//! evidence: the client's end says how long the answer waited to be read; the
//!           server's end on this node, how long the query waited in its socket
//!           and how long the server took; its own queries meanwhile, how long
//!           it waited for its upstream. What is left between both ends is the
//!           network.
//! not this: a server that is not on this node: the network and the server
//!           cannot be told apart (`slow-unlocated`)

use crate::{
    engine::Parts,
    findings::{
        Code, FindingCode,
        books::{Books, Sighting},
        join::Joined,
    },
};

/// Notes a slow transaction.
pub(in crate::findings) fn sight(joined: &Joined<'_>, slow_seconds: f64, books: &mut Books) {
    let client = joined.client;
    if client.latency_seconds < slow_seconds {
        return;
    }
    let parts = parts(joined);
    let Some((code, _)) = parts.iter().max_by(|one, other| one.1.total_cmp(&other.1)) else {
        return;
    };
    let sighting = Sighting {
        code: Code::Finding(*code),
        subject: "",
        owner: &client.owner,
        at: joined.at(),
        item: Some(joined.server.map_or_else(
            || format!("server {}", client.query.server),
            |server| format!("server {} of {}", server.address, server.owner),
        )),
    };
    books.add(sighting, || {
        let parts: Vec<String> = parts
            .iter()
            .filter(|(_, seconds)| *seconds > 0.0)
            .map(|(code, seconds)| format!("{} {:.1} ms", part(*code), seconds * 1e3))
            .collect();
        format!(
            "{}, {:.1} ms: {}",
            joined.describe(),
            client.latency_seconds * 1e3,
            parts.join(", ")
        )
    });
}

/// The parts of the latency by the code each stands for, seconds.
fn parts(joined: &Joined<'_>) -> Vec<(FindingCode, f64)> {
    let client = joined.client;
    let read = match client.parts {
        Parts::Client { read_seconds, .. } => read_seconds.unwrap_or(0.0),
        Parts::Server { .. } => 0.0,
    };
    let before_read = client.latency_seconds - read;
    let Some((queue, taken)) = joined.server.and_then(|server| server.parts_seconds) else {
        return vec![(FindingCode::SlowClient, read), (FindingCode::SlowUnlocated, before_read)];
    };
    let upstream = joined.upstream_seconds().min(taken);
    vec![
        (FindingCode::SlowClient, read),
        (FindingCode::SlowServerQueue, queue),
        (FindingCode::SlowUpstream, upstream),
        (FindingCode::SlowServer, taken - upstream),
        (FindingCode::SlowNetwork, (before_read - queue - taken).max(0.0)),
    ]
}

/// What a part is called.
const fn part(code: FindingCode) -> &'static str {
    match code {
        FindingCode::SlowClient => "read late by the client",
        FindingCode::SlowServerQueue => "in the server's socket",
        FindingCode::SlowUpstream => "upstream",
        FindingCode::SlowServer => "in the server",
        FindingCode::SlowNetwork => "on the way",
        _ => "unseen from here",
    }
}
