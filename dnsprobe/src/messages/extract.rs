//! Pieces of a message: what stands between two words, names, addresses.

use std::net::{IpAddr, SocketAddr};

use crate::identity::escape;

/// Longest name that is taken from a message: RFC 1035's limit in print.
const NAME_BYTES: usize = 255;
/// Port of DNS, where a message names a server without one.
const PORT: u16 = 53;

/// What follows the first `start`.
pub(super) fn after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.split_once(start).map(|(_, rest)| rest)
}

/// What stands between the first `start` and the next `end`.
pub(super) fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    after(text, start)?.split_once(end).map(|(inside, _)| inside)
}

/// What stands between the first `start` and the next blank or the end.
pub(super) fn word_after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    after(text, start)?.split_whitespace().next()
}

/// What stands in front of the last `end`, from the last blank before it.
pub(super) fn word_before<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    text.rsplit_once(end)?.0.split_whitespace().next_back()
}

/// A name without its quotes and the punctuation around it, escaped; `None`
/// when nothing is left that could be one.
pub(super) fn name(word: &str) -> Option<String> {
    let punctuation: &[char] = &['\'', '"', '`', '‘', '’', '(', ')', ',', ';', ':', '[', ']'];
    let name = word.trim_matches(punctuation);
    let plausible = (1..=NAME_BYTES).contains(&name.len())
        && !name.contains(char::is_whitespace)
        && name.contains(|c: char| c.is_alphanumeric());
    plausible.then(|| escape(name.as_bytes()))
}

/// Whether an escaped name can be typed into a shell as it is.
pub(super) fn is_plain(name: &str) -> bool {
    !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// A server: `10.96.0.10:53`, `[fd00::a]:53`, `10.96.0.10#53`, either with
/// something in parentheses behind it, or an address alone.
pub(super) fn server(word: &str) -> Option<SocketAddr> {
    let quotes = ['\'', '"', ',', ';', '/'];
    let word = word.split('(').next()?.trim_matches(quotes);
    // The colon of `ADDRESS: error` is not one of IPv6.
    let word = word.strip_suffix(':').filter(|rest| !rest.ends_with(':')).unwrap_or(word);
    let word = word.trim_matches(quotes);
    if let Some((address, port)) = word.split_once('#') {
        return Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?));
    }
    word.parse().ok().or_else(|| {
        let address: IpAddr = word.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        Some(SocketAddr::new(address, PORT))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_in_every_spelling() {
        for (word, address) in [
            ("10.96.0.10:53", "10.96.0.10:53"),
            ("10.96.0.10:53:", "10.96.0.10:53"),
            ("[fd00::a]:53:", "[fd00::a]:53"),
            ("10.96.0.10#53(10.96.0.10)", "10.96.0.10:53"),
            ("fd00::a#5353:", "[fd00::a]:5353"),
            ("'127.0.0.1':", "127.0.0.1:53"),
            ("127.0.0.1", "127.0.0.1:53"),
            ("fd00::a", "[fd00::a]:53"),
        ] {
            assert_eq!(server(word).map(|server| server.to_string()).as_deref(), Some(address));
        }
        for word in ["", "dns.example:53", "10.0.0.1:99999", "#", "(", ":", "::::"] {
            assert_eq!(server(word), None, "{word}");
        }
    }

    #[test]
    fn names_lose_their_quotes_and_are_escaped() {
        assert_eq!(name("'cart.shop':").as_deref(), Some("cart.shop"));
        assert_eq!(name("‘cart.shop’").as_deref(), Some("cart.shop"));
        assert_eq!(name("a\x1b[2Jb").as_deref(), Some(r"a\027[2Jb"));
        assert_eq!(name("''"), None);
        assert_eq!(name("a b"), None);
        assert_eq!(name(&"a".repeat(256)), None);
    }

    #[test]
    fn only_plain_names_go_into_a_command() {
        assert!(is_plain("redis-master.default.svc.cluster.local."));
        for name in ["$(reboot)", "a;b", "-o", "a b", r"a\027b", "a'b"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
