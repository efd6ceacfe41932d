//! `dnsprobe capture`: tshark reads the file without a complaint, and finds in each
//! packet what dnsprobe tells of the transaction: every transaction of a healthy pod
//! with all its packets, over IPv4 and IPv6, and every query that a rule drops, as it
//! was where it was dropped.

use std::collections::BTreeMap;

use anyhow::Result;

use super::stage::{LOST_AFTER, Stage};
use super::{Kernels, Outcome, Scenario};
use crate::client::message::QueryType;
use crate::client::query;
use crate::lab::capture::{Capture, Dns, Packet, Scratch};
use crate::lab::cast::{API, COREDNS_0, COREDNS_1, DNS, DNS_V6, VICTIM, WEB_V6};
use crate::lab::dnsprobe::Mode;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::MISSING_NAME;
use crate::observed::Observed;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "capture",
    about: "packets in a file: tshark finds in them what dnsprobe tells, dropped ones too",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const QUERIES: u16 = 4;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .service(DNS_V6, &[COREDNS_0, COREDNS_1], Balance::Random)
        .rule("filter", format!("-A FORWARD -s {} -p udp --dport 53 -j DROP", VICTIM.address()))
        .load(stage.node)?;
    let scratch = Scratch::new("capture")?;
    let watch = stage.watch(Mode::Trace, LOST_AFTER)?;
    let file = scratch.file("all.pcapng");
    let directories = stage.node.directories();
    let capture = Capture::start(&stage.programs.dnsprobe, directories, &file, LOST_AFTER, &[])?;

    let healthy = stage.healthy_pod(DNS)?;
    let missing = query::Args {
        name: MISSING_NAME.into(),
        kind: QueryType::Aaaa,
        fresh_port: true,
        ..query::Args::new(DNS, QUERIES)
    };
    let v6 = query::Args::new(DNS_V6, QUERIES);
    let lost = query::Args { timeout_ms: 150, ..query::Args::new(DNS, QUERIES) };
    let clients = [(&API, &missing), (&WEB_V6, &v6), (&VICTIM, &lost)]
        .map(|(spec, args)| Ok((stage.programs.query(stage.pod(spec)?, args)?, spec)))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let mut sent = healthy.report()?.sent;
    for (client, _) in clients {
        sent += client.report()?.sent;
    }
    let (packets, said) = capture.finish()?;
    let observed = watch.finish()?;

    let told = told(&observed);
    let mut problems = complaints(&packets);
    if told.len() as u64 != sent {
        problems.push(format!("dnsprobe tells of {} queries, the clients of {sent}", told.len()));
    }
    problems.extend(packets_of_transactions(&packets, &told));
    problems.extend(packets_of_drops(&packets));
    if said.contains("were not captured") {
        problems.push(said);
    }
    Ok(Outcome::default().checked("packets and transactions", problems))
}

/// A client's query by its address and id: what was asked, what came of it, whose.
type Told = BTreeMap<(String, u16), (Dns, String, String)>;

/// What `dnsprobe trace` tells of each client's query.
fn told(observed: &Observed) -> Told {
    let mut told = Told::new();
    let kind = |kind: Option<&str>| match kind {
        Some("A") => 1,
        Some("AAAA") => 28,
        _ => 0,
    };
    let dns = |query: &crate::observed::Query, rcode: Option<u8>| Dns {
        id: query.id,
        name: query.name.clone().unwrap_or_default().trim_end_matches('.').to_owned(),
        kind: kind(query.kind.as_deref()),
        rcode,
    };
    for answered in observed.transactions.iter().filter(|told| told.role == "client") {
        let rcode = match answered.rcode.as_deref() {
            Some("NOERROR") => Some(0),
            Some("NXDOMAIN") => Some(3),
            _ => None,
        };
        let query = &answered.query;
        let end = format!("answered {}", answered.rcode.as_deref().unwrap_or("?"));
        let what = (dns(query, rcode), end, answered.owner.label.clone());
        told.insert((query.client.to_string(), query.id), what);
    }
    for lost in &observed.verdicts {
        let query = &lost.query;
        let what = (dns(query, None), format!("lost, {}", lost.cause), lost.owner.label.clone());
        told.insert((query.client.to_string(), query.id), what);
    }
    told
}

/// What tshark complains of, and what no packet may lack.
pub(super) fn complaints(packets: &[Packet]) -> Vec<String> {
    let mut problems = Vec::new();
    for packet in packets {
        if !packet.complaints.is_empty() {
            problems.push(format!("tshark: {} in {packet:?}", packet.complaints));
        }
        for fact in ["owner", "direction", "dns", "verdict", "seen"] {
            if packet.said(fact).is_none() {
                problems.push(format!("nothing is said of the {fact} of {packet:?}"));
            }
        }
    }
    problems
}

/// Each query has its packets, and in each stands what is told of it. Every client
/// and both servers are on this node.
fn packets_of_transactions(packets: &[Packet], told: &Told) -> Vec<String> {
    let mut problems = Vec::new();
    let mut found: BTreeMap<(String, u16), Vec<&str>> = BTreeMap::new();
    for packet in packets {
        let direction = packet.said("direction").unwrap_or_default();
        let client = if packet.dns.rcode.is_some() { packet.destination } else { packet.source };
        let key = (client.to_string(), packet.dns.id);
        let Some((dns, end, owner)) = told.get(&key) else {
            problems.push(format!("a packet of no known query: {packet:?}"));
            continue;
        };
        let asked = Dns { rcode: packet.dns.rcode, ..dns.clone() };
        if packet.dns != asked || packet.dns.rcode.is_some_and(|_| dns.rcode != packet.dns.rcode) {
            problems.push(format!("tshark reads {:?}, dnsprobe {dns:?}", packet.dns));
        }
        let is_clients = direction.ends_with("client") || direction.ends_with("dropped");
        let is_said =
            |fact: &str, text: &str| packet.said(fact).is_some_and(|said| said.starts_with(text));
        if is_clients && !(is_said("verdict", end) && is_said("owner", owner)) {
            problems.push(format!("not {end} of {owner}: {packet:?}"));
        }
        found.entry(key).or_default().push(direction);
    }
    for (key, (_, end, _)) in told {
        let mut directions = found.remove(key).unwrap_or_default();
        directions.sort_unstable();
        let expected: &[&str] = if end.starts_with("lost") {
            &["query, dropped", "query, sent by the client"]
        } else {
            &[
                "answer, at the client",
                "answer, sent by the server",
                "query, at the server",
                "query, sent by the client",
            ]
        };
        if directions != expected {
            problems.push(format!("packets of {key:?} ({end}): {directions:?}"));
        }
    }
    problems
}

/// The kernel's own word on a drop, where it happened.
fn packets_of_drops(packets: &[Packet]) -> Vec<String> {
    let dropped = packets.iter().filter(|packet| packet.said("dropped").is_some());
    dropped
        .filter(|packet| {
            let stack = packet.said("stack").unwrap_or_default();
            let site = packet.said("dropped").unwrap_or_default();
            !(site.contains("nf_hook_slow") || stack.contains("nf_hook_slow"))
                || !stack.contains("ip_forward")
                || packet.said("conntrack").is_none()
        })
        .map(|packet| format!("not dropped by a rule on its way: {packet:?}"))
        .collect()
}
