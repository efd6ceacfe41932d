//! dig, host and nslookup (BIND 9.18 and before, and Busybox' nslookup).

use crate::messages::{
    Client, Message, MessageKind,
    extract::{after, between, server, word_after, word_before},
};

pub(super) fn recognise(line: &str) -> Option<Message> {
    code(line).or_else(|| no_answer(line)).or_else(|| oddity(line))
}

fn tool(kind: MessageKind) -> Message {
    Message::new(kind, Client::DigHostNslookup)
}

/// A response code, in one of the three tools' words.
fn code(line: &str) -> Option<Message> {
    let (text, name) = if line.contains("->>HEADER<<-") {
        (between(line, "status: ", ",")?, None)
    } else if let Some(name) = between(line, "server can't find ", ": ") {
        (after(line, "server can't find ")?.split_once(": ")?.1, Some(name))
    } else if let Some(rest) = after(line, " not found: ") {
        // host: `Host NAME not found: 3(NXDOMAIN)`
        (rest.split_once('(')?.1.split(')').next()?, word_before(line, " not found: "))
    } else if let Some(code) = word_after(line, ";; Got ") {
        let from = word_after(line, " reply from ")?.trim_end_matches(',');
        return Some(tool(kind_of(code)?).server(server(from)));
    } else {
        return None;
    };
    Some(tool(kind_of(text.trim())?).name(name))
}

fn kind_of(code: &str) -> Option<MessageKind> {
    match code {
        "NXDOMAIN" => Some(MessageKind::Nxdomain),
        "SERVFAIL" => Some(MessageKind::Servfail),
        "REFUSED" => Some(MessageKind::Refused),
        _ => None,
    }
}

fn no_answer(line: &str) -> Option<Message> {
    if let Some(rest) = after(line, ";; communications error to ") {
        let (address, error) = rest.split_once(": ")?;
        let kind = match error.trim() {
            "timed out" => MessageKind::ServerTimeout,
            "connection refused" => MessageKind::ConnectionRefused,
            _ => return None,
        };
        return Some(tool(kind).server(server(address)));
    }
    if line.contains("nslookup: write to ") && line.contains("onnection refused") {
        let address = word_after(line, "write to ").and_then(server);
        let message = Message::new(MessageKind::ConnectionRefused, Client::Busybox);
        return Some(message.server(address));
    }
    line.contains("no servers could be reached").then(|| tool(MessageKind::ServerTimeout))
}

fn oddity(line: &str) -> Option<Message> {
    if let Some(rest) = after(line, ";; reply from unexpected source: ") {
        let asked = word_after(rest, "expected ").and_then(server);
        return Some(tool(MessageKind::UnexpectedSource).server(asked));
    }
    if line.contains(";; Truncated, retrying in TCP mode") {
        return Some(tool(MessageKind::Truncated));
    }
    let name = between(line, "*** Can't find ", ": No answer")?;
    Some(tool(MessageKind::NoAddress).name(Some(name)))
}
