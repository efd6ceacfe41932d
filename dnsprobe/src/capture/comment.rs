//! What is said of a packet: one fact per comment, each with its name in front.

use dnsprobe_common::capture::Point;

use super::{Decision, Seen, pcapng::Way, rebuild::Rebuilt};
use crate::{dns::rcode_name, identity::Owner, output::printable, stats::role_name};

/// The comments of a packet. `own`: what became of it at this end; `others`: at the
/// other one.
pub(super) fn comments(
    seen: &Seen,
    rebuilt: &Rebuilt<'_>,
    own: Option<&Decision>,
    others: &[&Decision],
) -> Vec<String> {
    let packet = &seen.packet;
    let mut comments = vec![format!("owner: {}", owner(seen, own))];
    if let Some(process) = process(seen, own) {
        comments.push(format!("process: {process}"));
    }
    comments.push(format!("direction: {}", direction(seen)));
    comments.push(format!("dns: {}", dns(seen)));
    comments.push(match own {
        Some(decision) => format!("verdict: {}", decision.end),
        None => "verdict: none; no query was followed that it belongs to".to_owned(),
    });
    for other in others {
        comments.push(if other.role == packet.role() {
            format!("also: {}", other.end)
        } else {
            format!("{} {}: {}", role_name(other.role), other.owner, other.end)
        });
    }
    if let Some(site) = &packet.drop {
        let reason = site.reason.as_deref().unwrap_or("this kernel gives no reasons");
        comments.push(format!("dropped: {reason}, at {}", site.location));
        if !site.callers.is_empty() {
            comments.push(format!("stack: {}", site.callers.join(" < ")));
        }
    }
    if let Some(original) = packet.original {
        comments.push(format!("conntrack: original direction {original}"));
    }
    comments.push(format!("seen: {}", place(seen)));
    if let Some(filled_in) = rebuilt.filled_in {
        comments.push(format!(
            "filled in by dnsprobe: {filled_in}, which the kernel fills in a moment later"
        ));
    }
    if rebuilt.checksum_open {
        comments.push("UDP checksum: left to the device, not yet complete here".to_owned());
    }
    if rebuilt.len as usize > rebuilt.bytes.len() {
        let missing = rebuilt.len as usize - rebuilt.bytes.len();
        comments.push(format!("cut: the last {missing} bytes were not captured"));
    }
    comments.into_iter().map(|comment| printable(&comment).into_owned()).collect()
}

fn owner(seen: &Seen, own: Option<&Decision>) -> String {
    let Some(owner) = own.map(|decision| &decision.owner).or(seen.owner.as_ref()) else {
        return "not known: no socket holds it here".to_owned();
    };
    let container = match &**owner {
        Owner::Pod { container: Some(id), .. } => {
            let id = id.get(..12).unwrap_or(id);
            match owner.container_name() {
                Some(name) => format!(", container {name} ({id})"),
                None => format!(", container {id}"),
            }
        }
        Owner::Unattributed { reason } => format!(" ({reason})"),
        _ => String::new(),
    };
    format!("{owner}{container}")
}

/// `command[pid]` as far as known.
fn process(seen: &Seen, own: Option<&Decision>) -> Option<String> {
    let packet = &seen.packet;
    let pid = packet.owner.map(|owner| owner.tgid).filter(|tgid| *tgid != 0);
    let pid = pid.or(own.and_then(|own| own.pid));
    let command = packet.command.as_deref().or(own.and_then(|own| own.command.as_deref()));
    match (command, pid) {
        (Some(command), Some(pid)) => Some(format!("{command}[{pid}]")),
        (Some(command), None) => Some(command.to_owned()),
        (None, Some(pid)) => Some(format!("pid {pid}")),
        (None, None) => None,
    }
}

fn direction(seen: &Seen) -> &'static str {
    match (seen.packet.point, seen.packet.message.is_answer) {
        (Point::Sent | Point::TakenByDevice, false) => "query, sent by the client",
        (Point::Sent | Point::TakenByDevice, true) => "answer, sent by the server",
        (Point::Queued | Point::FromDevice, false) => "query, at the server",
        (Point::Queued | Point::FromDevice, true) => "answer, at the client",
        (Point::Dropped | Point::DroppedByQdisc, false) => "query, dropped",
        (Point::Dropped | Point::DroppedByQdisc, true) => "answer, dropped",
    }
}

/// The message as dnsprobe reads it.
fn dns(seen: &Seen) -> String {
    let message = &seen.packet.message;
    let question = message.question.as_ref().map_or("? ?".to_owned(), ToString::to_string);
    let code =
        if message.is_answer { format!(" {}", rcode_name(message.rcode)) } else { String::new() };
    format!("{} {question}{code}", message.id)
}

fn place(seen: &Seen) -> String {
    let packet = &seen.packet;
    let (before, hook) = match packet.point {
        Point::Sent => ("routed to", "where its socket sends it"),
        Point::Queued => ("from", "where it is put on its socket's queue"),
        Point::Dropped | Point::DroppedByQdisc => ("on", "where it is dropped"),
        Point::TakenByDevice => ("on", "where a device takes it"),
        Point::FromDevice => ("from", "where a device hands it in"),
    };
    let interface = packet.interface.as_ref().map_or("interface not known".to_owned(), |it| {
        format!("{before} interface {} ({}) of network namespace {}", it.name, it.index, it.netns)
    });
    let socket = packet.owner.filter(|owner| owner.netns != 0);
    let socket = socket
        .map_or(String::new(), |owner| format!(", socket of network namespace {}", owner.netns));
    format!("{hook}, on CPU {}, {interface}{socket}", packet.cpu)
}

/// The way a packet takes, for those who do not read comments.
pub(super) fn way(seen: &Seen) -> Way {
    match seen.packet.point {
        Point::Sent | Point::TakenByDevice => Way::Outbound,
        Point::Queued | Point::FromDevice => Way::Inbound,
        Point::Dropped | Point::DroppedByQdisc => Way::Unknown,
    }
}
