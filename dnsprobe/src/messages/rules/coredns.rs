//! Lines of CoreDNS' log, and of the kernel's.
//!
//! From CoreDNS' `plugin/errors`, `plugin/forward`, `plugin/log`,
//! `plugin/loop`, `plugin/ready`, client-go's reflector (1.11), and the kernel's
//! `nf_conntrack_core.c`.

use crate::messages::{
    Client, Message, MessageKind,
    extract::{self, after, between, server, word_after, word_before},
};

pub(super) fn recognise(line: &str) -> Option<Message> {
    query_error(line)
        .or_else(|| api_server(line))
        .or_else(|| start_up(line))
        .or_else(|| query_log(line))
        .or_else(|| kernel(line))
}

/// `plugin/errors: 2 NAME TYPE: ERROR`; before 1.3 without `plugin/errors:`,
/// with `unreachable backend:`.
fn query_error(line: &str) -> Option<Message> {
    let (asked, error) = match after(line, "plugin/errors: ") {
        Some(rest) => rest.split_once(": ")?,
        None => line.split_once(": unreachable backend: ")?,
    };
    let mut words = asked.split_whitespace();
    // The type is the last word, the name the one before it.
    let name = words.nth_back(1);
    let (kind, upstream) = if error.contains("i/o timeout") {
        (MessageKind::UpstreamTimeout, upstream(error))
    } else if error.contains("connection refused") {
        (MessageKind::UpstreamConnectionRefused, upstream(error))
    } else if ["no route to host", "network is unreachable", "operation not permitted"]
        .iter()
        .any(|refusal| error.contains(refusal))
    {
        (MessageKind::UpstreamUnreachable, upstream(error))
    } else if error.contains("no healthy proxies") || error.contains("no healthy upstream") {
        (MessageKind::NoHealthyUpstream, None)
    } else {
        return None;
    };
    Some(Message::new(kind, Client::CoreDns).name(name).server(upstream))
}

/// The far end in `read udp A->B: ...` or `dial tcp B: ...`.
fn upstream(error: &str) -> Option<std::net::SocketAddr> {
    let word = match after(error, "->") {
        // Older versions print a blank behind the arrow.
        Some(rest) => rest.split_whitespace().next(),
        None => word_after(error, "dial tcp ").or_else(|| word_after(error, "dial udp ")),
    };
    word.and_then(server)
}

/// client-go's reflector, which watches Services and EndpointSlices.
fn api_server(line: &str) -> Option<Message> {
    let watches = line.contains("reflector.go") || line.contains("plugin/kubernetes");
    let fails = ["ailed to list", "ailed to watch", "ailed to ensure", "client connection lost"]
        .iter()
        .any(|text| line.contains(text));
    if !watches || !fails {
        return None;
    }
    // A name in the URL that does not resolve is Go's to tell.
    let kind = if line.contains("connection refused") {
        MessageKind::ApiServerConnectionRefused
    } else if ["i/o timeout", "TLS handshake timeout", "deadline exceeded", "connection lost"]
        .iter()
        .any(|text| line.contains(text))
    {
        MessageKind::ApiServerTimeout
    } else if line.contains("is forbidden") {
        MessageKind::ApiServerForbidden
    } else {
        return None;
    };
    let address =
        word_after(line, "dial tcp ").or_else(|| between(line, "https://", "/")).and_then(server);
    Some(Message::new(kind, Client::CoreDns).server(address))
}

fn start_up(line: &str) -> Option<Message> {
    if let Some(directive) = after(line, "Unknown directive ")
        && line.contains("rror during parsing")
    {
        let mut message = Message::new(MessageKind::UnknownDirective, Client::CoreDns);
        message.directive = directive.split_whitespace().next().and_then(extract::name);
        return Some(message);
    }
    if line.contains("plugin/loop: Loop") {
        let address = between(line, "-> ", ")").and_then(server);
        return Some(Message::new(MessageKind::ForwardingLoop, Client::CoreDns).server(address));
    }
    let waits = line.contains("Still waiting on: ") && line.contains("plugin/ready")
        || line.contains("starting server with unsynced Kubernetes API");
    waits.then(|| Message::new(MessageKind::NotReady, Client::CoreDns))
}

/// The query log of `plugin/log`:
/// `CLIENT:PORT - ID "TYPE CLASS NAME PROTO SIZE DO BUFSIZE" RCODE FLAGS SIZE TIME`.
/// Only codes that tell of a failure are messages.
fn query_log(line: &str) -> Option<Message> {
    let (before, rest) = line.split_once('"')?;
    let (asked, answer) = rest.split_once("\" ")?;
    let mut asked = asked.split_whitespace();
    let (_type, class, name, protocol) =
        (asked.next()?, asked.next()?, asked.next()?, asked.next()?);
    let is_log = before.contains(" - ")
        && matches!(class, "IN" | "CH" | "HS")
        && matches!(protocol, "udp" | "tcp");
    let kind = match answer.split_whitespace().next()? {
        "NXDOMAIN" => MessageKind::Nxdomain,
        "SERVFAIL" => MessageKind::Servfail,
        "REFUSED" => MessageKind::Refused,
        _ => return None,
    };
    is_log.then(|| Message::new(kind, Client::CoreDns).name(Some(name)))
}

/// The kernel's log.
fn kernel(line: &str) -> Option<Message> {
    let full = line.contains("table full, dropping packet")
        && word_before(line, "table full").is_some_and(|word| word.contains("conntrack"));
    full.then(|| Message::new(MessageKind::ConntrackTableFull, Client::Kernel))
}
