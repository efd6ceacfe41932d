//! Words and machine-readable details for what the rules decided.

use std::{sync::Arc, time::Duration};

use dnsprobe_common::{
    dns::{is_truncated, rcode},
    flow::Role,
};
use serde_json::{Map, Value, json};

use super::{
    AtServer, Cause, ConntrackEntry, Device, DroppedBy, Evidence, Fact, FactKind, Parts, Query,
    QuerySeen, Sibling, Transaction, Translation, Verdict,
    rules::{Decision, Timeline},
};
use crate::{
    dns::QType,
    identity::{Backend, Identify, Owner, RemoteAddress},
    time::Clock,
};

/// The query as people know it.
pub(super) fn query(seen: &QuerySeen, identify: &mut dyn Identify, clock: &Clock) -> Query {
    let (netns, at_ns) = (seen.owner.netns, seen.start_ns);
    let mut remote = |address| identify.remote(RemoteAddress { netns, address, at_ns });
    let behind = seen.translation.map(|translation| translation.tuple.destination);
    let backend = behind
        .filter(|address| seen.role == Role::Client && *address != seen.id.server)
        .map(|address| Backend { address, remote: remote(address) });
    Query {
        remote: remote(if seen.role == Role::Client { seen.id.server } else { seen.id.client }),
        backend,
        question: seen.question.clone(),
        id: seen.id.id,
        client: seen.id.client,
        server: seen.id.server,
        transport: seen.transport,
        sent: clock.timestamp(seen.start_ns),
        pid: (seen.owner.tgid != 0).then_some(seen.owner.tgid),
        command: seen.command.clone(),
    }
}

/// An answered query; without `end_ns`, one whose answer was not seen to be
/// read.
pub(super) fn transaction(
    seen: &QuerySeen,
    end_ns: Option<u64>,
    identify: &mut dyn Identify,
    clock: &Clock,
) -> Transaction {
    let seconds = |from_ns: u64, to_ns: u64| {
        Duration::from_nanos(to_ns.saturating_sub(from_ns)).as_secs_f64()
    };
    let first = seen.middle_ns.map(|middle| seconds(seen.start_ns, middle));
    let second = seen.middle_ns.zip(end_ns).map(|(middle, end)| seconds(middle, end));
    let last_ns = end_ns.or(seen.middle_ns).unwrap_or(seen.start_ns);
    Transaction {
        time: clock.timestamp(last_ns),
        owner: identify.owner(seen.owner),
        role: seen.role,
        query: query(seen, identify, clock),
        truncated: seen.answer_flags.is_some_and(is_truncated),
        rcode: seen.answer_flags.and_then(|flags| u8::try_from(rcode(flags)).ok()),
        answer: seen.answer.clone(),
        answer_flags: seen.answer_flags,
        exchange: seen.exchange.clone(),
        translated: (seen.role == Role::Client)
            .then_some(seen.translation)
            .flatten()
            .map(|translation| translation.tuple),
        latency_seconds: seconds(seen.start_ns, last_ns),
        parts: match seen.role {
            Role::Client => Parts::Client { answer_queued_seconds: first, read_seconds: second },
            Role::Server => Parts::Server { query_read_seconds: first, answered_seconds: second },
        },
    }
}

/// The verdict on a lost query.
pub(super) fn verdict(
    timeline: &Timeline<'_>,
    decision: Decision,
    owner: Arc<Owner>,
    identify: &mut dyn Identify,
    clock: &Clock,
) -> Verdict {
    let seen = with_question(timeline.query, timeline.facts);
    let decisive = decision.decisive.map(|index| &timeline.facts[index]);
    let clash = match decision.cause {
        Cause::ConntrackClash => decisive,
        Cause::ConntrackClashLateAnswer => {
            timeline.facts.iter().find(|f| matches!(f.kind, FactKind::Clash { resolved: true, .. }))
        }
        _ => None,
    };
    let other = clash.and_then(winner_query);
    let mut evidence = vec![sent_evidence(&seen, clock)];
    if let Some((device, at_ns)) = &seen.device {
        evidence.push(device_evidence(device, seen.translation, *at_ns, clock));
    }
    if let Some(at_server) = &seen.at_server {
        evidence.push(server_evidence(at_server, identify, clock));
    }
    evidence.extend(timeline.facts.iter().map(|fact| fact_evidence(fact, identify, clock)));
    evidence.sort_by_key(|item| item.at);
    let at_ns = decisive.map_or(seen.start_ns, |fact| fact.packet.at_ns);
    Verdict {
        time: clock.timestamp(at_ns),
        cause: decision.cause,
        loss: decision.cause.is_loss(),
        owner,
        pair: other.is_some_and(|other| is_pair(&seen, other)),
        sibling: other.map(|other| sibling(other, identify, clock)),
        query: query(&seen, identify, clock),
        translated: seen.translation.map(|translation| translation.tuple),
        summary: decision.summary,
        advice: decision.cause.advice(),
        evidence,
        missing: if decision.cause == Cause::Unexplained {
            timeline.blindness.missing.clone()
        } else {
            Vec::new()
        },
    }
}

/// The near miss of a resolved clash.
pub(super) fn near_miss(fact: &Fact, identify: &mut dyn Identify, clock: &Clock) -> Verdict {
    let packet = &fact.packet;
    let other = winner_query(fact);
    let seen = packet.query.clone().unwrap_or_else(|| {
        let same_client = other.filter(|other| other.id.client == packet.client());
        let owner = packet.owner.or(same_client.map(|other| other.owner));
        packet.unseen_query(owner.unwrap_or_default())
    });
    let pair = other.is_some_and(|other| is_pair(&seen, other));
    let what =
        if pair { "The A and AAAA queries of one socket raced" } else { "Two queries raced" };
    Verdict {
        time: clock.timestamp(packet.at_ns),
        cause: Cause::ConntrackClashResolved,
        loss: false,
        owner: identify.owner(seen.owner),
        query: query(&seen, identify, clock),
        translated: seen.translation.map(|translation| translation.tuple),
        summary: format!("{what} to make the same conntrack entry; the kernel kept both packets."),
        advice: Cause::ConntrackClashResolved.advice(),
        sibling: other.map(|other| sibling(other, identify, clock)),
        pair,
        evidence: vec![fact_evidence(fact, identify, clock)],
        missing: Vec::new(),
    }
}

/// A lost query's question is also in any of its packets.
fn with_question(seen: &QuerySeen, facts: &[Fact]) -> QuerySeen {
    let mut seen = seen.clone();
    if seen.question.is_none() {
        seen.question = facts.iter().find_map(|fact| fact.packet.question.clone());
    }
    seen
}

fn winner_query(fact: &Fact) -> Option<&QuerySeen> {
    match &fact.kind {
        FactKind::Clash { winner_query, .. } => winner_query.as_deref(),
        _ => None,
    }
}

/// Whether two queries are what getaddrinfo sends: A and AAAA of one name from
/// one socket.
fn is_pair(one: &QuerySeen, other: &QuerySeen) -> bool {
    let (Some(a), Some(b)) = (&one.question, &other.question) else { return false };
    let types = [a.qtype, b.qtype];
    one.id.client == other.id.client
        && one.owner.netns == other.owner.netns
        && a.name == b.name
        && types.contains(&QType::A)
        && types.contains(&QType::AAAA)
}

fn sibling(seen: &QuerySeen, identify: &mut dyn Identify, clock: &Clock) -> Sibling {
    Sibling { owner: identify.owner(seen.owner), query: query(seen, identify, clock) }
}

fn sent_evidence(seen: &QuerySeen, clock: &Clock) -> Evidence {
    let mut detail = Map::new();
    detail.insert("kind".to_owned(), json!("sent"));
    detail.insert("netns".to_owned(), json!(seen.owner.netns));
    Evidence {
        at: clock.timestamp(seen.start_ns),
        fact: format!("{} sent query {} to {}", seen.id.client, seen.id.id, seen.id.server),
        detail,
    }
}

fn device_evidence(
    device: &Device,
    translation: Option<Translation>,
    at_ns: u64,
    clock: &Clock,
) -> Evidence {
    let mut detail = Map::new();
    detail.insert("kind".to_owned(), json!("transmit"));
    detail.extend(device_detail(device));
    let mut fact = format!("last device to transmit the query: {}", device_name(device));
    if let Some(Translation { tuple, established, backend }) = translation {
        detail.insert("packet".to_owned(), json!(tuple.to_string()));
        detail.insert("established".to_owned(), json!(established));
        detail.insert("backend_state".to_owned(), json!(backend.as_str()));
        fact += &format!(", as {tuple}");
    }
    Evidence { at: clock.timestamp(at_ns), fact, detail }
}

fn server_evidence(at_server: &AtServer, identify: &mut dyn Identify, clock: &Clock) -> Evidence {
    let mut detail = Map::new();
    detail.insert("kind".to_owned(), json!("at-server"));
    detail.insert("socket_owner".to_owned(), json!(identify.owner(at_server.owner)));
    detail.insert("read".to_owned(), json!(at_server.read_ns.map(|at| clock.timestamp(at))));
    let what = if at_server.read_ns.is_some() { "read" } else { "left unread" };
    Evidence {
        at: clock.timestamp(at_server.queued_ns),
        fact: format!("queued on the socket of a server on this node, and {what}"),
        detail,
    }
}

fn device_name(device: &Device) -> String {
    device.name.clone().unwrap_or_else(|| {
        format!("interface {} of network namespace {}", device.ifindex, device.netns)
    })
}

fn device_detail(device: &Device) -> Map<String, Value> {
    let mut detail = Map::new();
    detail.insert("device".to_owned(), json!(device.name));
    detail.insert("ifindex".to_owned(), json!(device.ifindex));
    detail.insert("device_netns".to_owned(), json!(device.netns));
    detail.insert("leaves_node".to_owned(), json!(device.leaves_node));
    detail
}

fn fact_evidence(fact: &Fact, identify: &mut dyn Identify, clock: &Clock) -> Evidence {
    let packet = &fact.packet;
    let mut detail = Map::new();
    let mut put = |key: &str, value: Value| detail.insert(key.to_owned(), value);
    put("cpu", json!(packet.cpu));
    put("packet", json!(packet.tuple.to_string()));
    put("direction", json!(if packet.is_answer { "answer" } else { "query" }));
    let text = match &fact.kind {
        FactKind::Drop { reason, location, callers, by, table_full_ns, queue_full } => {
            put("kind", json!("drop"));
            put("reason", json!(reason));
            put("location", json!(location));
            put("callers", json!(callers));
            put("netfilter", json!(*by == DroppedBy::Netfilter));
            if let Some(full_ns) = table_full_ns {
                put("table_full", json!(clock.timestamp(*full_ns)));
            }
            if let Some(full) = queue_full {
                put("socket_owner", json!(identify.owner(full.owner)));
                put("socket_used_bytes", json!(full.used_bytes));
                put("socket_buffer_bytes", json!(full.buffer_bytes));
                put("side", json!(if packet.is_answer { "client" } else { "server" }));
            }
            let reason = reason.as_deref().unwrap_or("no reason given");
            format!("{} dropped at {location}: {reason}", packet.tuple)
        }
        FactKind::Unreachable { icmp_type, icmp_code } => {
            put("kind", json!("icmp-error"));
            put("icmp_type", json!(icmp_type));
            put("icmp_code", json!(icmp_code));
            format!("ICMP type {icmp_type} code {icmp_code} sent for {}", packet.tuple)
        }
        FactKind::Clash { winner, resolved, ipvs, .. } => {
            put("kind", json!("clash"));
            put("resolved", json!(resolved));
            put("ipvs", json!(ipvs));
            put(
                "tuples",
                json!({ "loser": packet.conntrack.map(entry), "winner": entry(*winner) }),
            );
            let outcome = if *resolved { "kept" } else { "dropped" };
            format!("nf_ct_resolve_clash on CPU {}: {} {outcome}", packet.cpu, packet.tuple)
        }
        FactKind::ConfirmDrop => {
            put("kind", json!("confirm-drop"));
            format!("__nf_conntrack_confirm on CPU {} dropped {}", packet.cpu, packet.tuple)
        }
        FactKind::SendFailed { errno } => {
            put("kind", json!("send-failed"));
            put("errno", json!(errno));
            format!("the send call for {} returned error {errno}", packet.tuple)
        }
        FactKind::NatDrop => {
            put("kind", json!("nat-drop"));
            format!("nf_nat_masquerade_ipv4 on CPU {} dropped {}", packet.cpu, packet.tuple)
        }
        FactKind::IpvsDrop { backend, no_backend } => {
            put("kind", json!("ipvs-drop"));
            put("no_backend", json!(no_backend));
            if let Some(backend) = backend {
                put("backend", json!(backend.address.to_string()));
                put("backend_available", json!(backend.available));
                put("backend_weight", json!(backend.weight));
            }
            let why = match backend {
                _ if *no_backend => "the service has no real server for it".to_owned(),
                Some(backend) => format!("its connection points to {}", backend.address),
                None => "its connection points to an unknown real server".to_owned(),
            };
            format!("IPVS dropped {}; {why}", packet.tuple)
        }
        FactKind::IpvsDraining { backend } => {
            put("kind", json!("ipvs-draining"));
            put("backend", json!(backend.address.to_string()));
            put("backend_available", json!(backend.available));
            put("backend_weight", json!(backend.weight));
            format!(
                "IPVS sends {} to {}, whose weight is {}",
                packet.tuple,
                backend.address,
                backend.weight.unwrap_or(0)
            )
        }
        FactKind::Stray { from_ipvs } => {
            put("kind", json!("stray-answer"));
            put("from_ipvs", json!(from_ipvs));
            let owner = packet.owner.unwrap_or_default();
            put("socket_owner", json!(identify.owner(owner)));
            format!("{} reached a socket that did not ask that address", packet.tuple)
        }
    };
    if let Some(conntrack) = packet.conntrack
        && !matches!(fact.kind, FactKind::Clash { .. })
    {
        put("conntrack", json!(entry(conntrack)));
    }
    if let Some(device) = &packet.device {
        detail.extend(device_detail(device));
    }
    Evidence { at: clock.timestamp(packet.at_ns), fact: text, detail }
}

fn entry(entry: ConntrackEntry) -> Value {
    json!({
        "original": entry.original.to_string(),
        "reply": entry.reply.to_string(),
        "status": format!("{:#x}", entry.status),
    })
}
