//! Go's `net` package: `lookup NAME on SERVER: ERROR`, from `net/dnsclient_unix.go`
//! and `net/net.go` (`DNSError.Error`).

use crate::messages::{
    Client, Message, MessageKind,
    extract::{after, server},
};

/// Where Go was built to ask the C library, the server is missing and the
/// error may be the C library's; those are left to its rules.
pub(super) fn recognise(line: &str) -> Option<Message> {
    let rest = after(line, "lookup ")?;
    let (asked, error) = rest.split_once(": ")?;
    let (name, address) = match asked.split_once(" on ") {
        Some((name, address)) => (name, Some(server(address)?)),
        None => (asked, None),
    };
    // Prose may look up things too; Go quotes nothing and has one word here.
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    let kind = if error.starts_with("no such host") {
        MessageKind::NoSuchHost
    } else if error.starts_with("server misbehaving") {
        MessageKind::ServerMisbehaving
    } else if address.is_none() && !error.starts_with("i/o timeout") {
        return None;
    } else if ["i/o timeout", "context deadline exceeded", "operation was canceled"]
        .iter()
        .any(|end| error.contains(end))
    {
        MessageKind::ServerTimeout
    } else if error.contains("connection refused") {
        MessageKind::ConnectionRefused
    } else {
        return None;
    };
    Some(Message::new(kind, Client::Go).name(Some(name)).server(address))
}
