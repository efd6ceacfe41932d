//! Programs that ask through the C library or through a resolver of their own,
//! and print its error: `gai_strerror` of glibc (`sysdeps/posix/gai_strerror.c`),
//! musl (`src/network/gai_strerror.c`) and the BSDs, c-ares' codes as Node.js
//! spells them, and the words of curl, wget, Busybox, Java and Netty.

use crate::messages::{
    Client, Message, MessageKind,
    extract::{after, between, server, word_after, word_before},
};

pub(super) fn recognise(line: &str) -> Option<Message> {
    node(line)
        .or_else(|| netty(line))
        .or_else(|| curl(line))
        .or_else(|| error_text(line))
        .or_else(|| without_reason(line))
}

/// `getaddrinfo CODE NAME`, `queryA CODE NAME`.
fn node(line: &str) -> Option<Message> {
    const CODES: [(&str, MessageKind); 8] = [
        (" ENOTFOUND ", MessageKind::NameNotKnown),
        (" EAI_AGAIN ", MessageKind::TemporaryFailure),
        (" ENODATA ", MessageKind::NoAddress),
        (" ESERVFAIL ", MessageKind::Servfail),
        (" EREFUSED ", MessageKind::Refused),
        (" ECONNREFUSED ", MessageKind::ConnectionRefused),
        (" ETIMEOUT ", MessageKind::ServerTimeout),
        (" ETIMEDOUT ", MessageKind::ServerTimeout),
    ];
    CODES.iter().find_map(|&(code, kind)| {
        let call = word_before(line, code)?;
        let asks = call == "getaddrinfo" || call.starts_with("query") && !call.contains(':');
        asks.then(|| Message::new(kind, Client::NodeJs).name(word_after(line, code)))
    })
}

/// `[/10.96.0.10:53] query '12: NAME A' via UDP timed out after 5000 milliseconds`
/// and `Failed to resolve 'NAME' [A(1)]`.
fn netty(line: &str) -> Option<Message> {
    if line.contains("DnsNameResolverTimeoutException")
        || line.contains("query") && line.contains("timed out after") && line.contains("[/")
    {
        let address = between(line, "[/", "]").and_then(server);
        let name = between(line, "query '", "'").and_then(|asked| asked.split_whitespace().nth(1));
        let message = Message::new(MessageKind::ServerTimeout, Client::Java);
        return Some(message.name(name).server(address));
    }
    let name = between(line, "UnknownHostException: Failed to resolve '", "'")?;
    Some(Message::new(MessageKind::CouldNotResolve, Client::Java).name(Some(name)))
}

/// Of curl and other programs with libcurl.
fn curl(line: &str) -> Option<Message> {
    if line.contains("Resolving timed out after ") {
        return Some(Message::new(MessageKind::ServerTimeout, Client::Curl));
    }
    let name = word_after(line, "Could not resolve host: ")?;
    Some(Message::new(MessageKind::CouldNotResolve, Client::Curl).name(Some(name)))
}

/// Messages with `getaddrinfo`'s own reason.
fn error_text(line: &str) -> Option<Message> {
    const TEXTS: [(&str, MessageKind); 6] = [
        ("Name or service not known", MessageKind::NameNotKnown),
        ("Name does not resolve", MessageKind::NameNotKnown),
        ("nodename nor servname provided, or not known", MessageKind::NameNotKnown),
        ("Temporary failure in name resolution", MessageKind::TemporaryFailure),
        ("No address associated with hostname", MessageKind::NoAddress),
        ("Name has no usable address", MessageKind::NoAddress),
    ];
    let found = TEXTS.iter().find(|(text, _)| line.contains(text)).copied();
    let (text, kind) = found.or_else(|| try_again(line))?;
    let (before, _) = line.split_once(text)?;
    let (client, name) = speaker(before);
    Some(Message::new(kind, client).name(name))
}

/// musl's text for EAI_AGAIN is two words that anybody may say: they count
/// behind a colon (or Python's number) at the end of a line about names.
fn try_again(line: &str) -> Option<(&'static str, MessageKind)> {
    const ABOUT_NAMES: [&str; 10] = [
        "getaddrinfo",
        "[Errno -3]",
        "resolve",
        "lookup",
        "host",
        "address",
        "ping",
        "wget",
        "curl",
        "UnknownHost",
    ];
    let line = line.trim_end().trim_end_matches([')', '.', '"', '\'', '>']);
    let ends = line.ends_with(": Try again") || line.ends_with("[Errno -3] Try again");
    (ends && ABOUT_NAMES.iter().any(|word| line.contains(word)))
        .then_some(("Try again", MessageKind::TemporaryFailure))
}

/// Who speaks, and the name, from what stands in front of the reason.
fn speaker(before: &str) -> (Client, Option<&str>) {
    let last_word = || before.trim_end().trim_end_matches(':').split_whitespace().next_back();
    if before.contains("php_network_getaddresses") {
        // `getaddrinfo for NAME failed:` since PHP 8.1
        return (Client::Php, between(before, "getaddrinfo for ", " failed"));
    }
    if let Some(rest) = after(before, "UnknownHostException: ") {
        return (Client::Java, rest.split(':').next());
    }
    if before.contains("[Errno -") {
        return (Client::Python, between(before, "host='", "'"));
    }
    if let Some(rest) = after(before, "ping: ") {
        // Debian: `ping: NAME: `; before, `ping: unknown host`.
        return (Client::Ping, rest.trim_end().strip_suffix(':'));
    }
    if let Some(name) = between(before, "Resolving ", " ").or(between(before, "Resolving ", "..."))
    {
        return (Client::Wget, Some(name));
    }
    if let Some(rest) = after(before, "lookup ") {
        return (Client::Go, rest.split(':').next());
    }
    if let Some(name) = between(before, "can't resolve ", ":") {
        return (Client::Busybox, Some(name).filter(|name| !name.contains("(null)")));
    }
    let known =
        ["hostname ", "host name ", "host ", "resolve "].iter().any(|word| before.contains(word));
    // `Could not resolve hostname NAME:`, `could not translate host name "NAME"
    // to address:`; elsewhere the word in front is as likely the program's.
    let quoted = between(before, "\"", "\"");
    (Client::Libc, if known { quoted.or_else(last_word) } else { None })
}

/// Messages that give no reason at all.
fn without_reason(line: &str) -> Option<Message> {
    let message = |client| Message::new(MessageKind::CouldNotResolve, client);
    if let Some(name) = word_after(line, "unable to resolve host address ") {
        return Some(message(Client::Wget).name(Some(name)));
    }
    if let Some(name) = word_after(line, "ping: unknown host ") {
        return Some(message(Client::Ping).name(Some(name)));
    }
    if let Some(name) = word_after(line, ": bad address ") {
        return Some(message(Client::Busybox).name(Some(name)));
    }
    let name = word_after(line, "java.net.UnknownHostException: ")
        .or_else(|| word_after(line, "Caused by: UnknownHostException: "))?;
    Some(message(Client::Java).name(Some(name)))
}
