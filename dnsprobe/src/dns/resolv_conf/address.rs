//! The address of a `nameserver` line, in every spelling that the C libraries
//! take.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::quote;

/// An address and, for IPv6, its scope, escaped.
///
/// glibc (`res_init.c`) and musl (`lookup_ipliteral.c`) both try `inet_aton`
/// first, which also takes short, octal and hexadecimal forms: `10.1` is
/// 10.0.0.1.
pub(super) fn parse(word: &[u8]) -> Option<(IpAddr, Option<String>)> {
    let text = std::str::from_utf8(word).ok()?;
    if let Some(address) = inet_aton(text) {
        return Some((IpAddr::V4(address), None));
    }
    let (address, scope) = match text.split_once('%') {
        Some((address, scope)) => (address, Some(quote(scope.as_bytes()))),
        None => (text, None),
    };
    address.parse::<Ipv6Addr>().ok().map(|address| (IpAddr::V6(address), scope))
}

/// `a`, `a.b`, `a.b.c` or `a.b.c.d`; the last part fills the bytes that are
/// left.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let parts = text.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    let (&last, bytes) = parts.split_last()?;
    if bytes.len() > 3 || bytes.iter().any(|&byte| byte > 255) {
        return None;
    }
    let left = 32 - 8 * bytes.len();
    if u64::from(last) >= 1_u64 << left {
        return None;
    }
    let high = bytes.iter().fold(0_u64, |high, &byte| high << 8 | u64::from(byte));
    u32::try_from(high << left | u64::from(last)).ok().map(Ipv4Addr::from)
}

/// A number in C notation.
fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    // `from_str_radix` would take a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| u32::from_str_radix(digits, radix).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(word: &str) -> String {
        match parse(word.as_bytes()) {
            Some((address, Some(scope))) => format!("{address}%{scope}"),
            Some((address, None)) => address.to_string(),
            None => "none".to_owned(),
        }
    }

    #[test]
    fn every_spelling_of_the_c_libraries_is_an_address() {
        for (word, address) in [
            ("10.96.0.10", "10.96.0.10"),
            ("10.10", "10.0.0.10"),
            ("10.96.10", "10.96.0.10"),
            ("167772161", "10.0.0.1"),
            ("0x0a.010.0.1", "10.8.0.1"),
            ("0", "0.0.0.0"),
            ("fd00::a", "fd00::a"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("fe80::1%\x1b[2J", r"fe80::1%\027[2J"),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
        ] {
            assert_eq!(shown(word), address, "{word}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for word in [
            "",
            ".",
            "a",
            "10.0.0.256",
            "10.0.0.1.2",
            "256.1",
            "4294967296",
            "10..1",
            "+1",
            "10.0.0.1:53",
            "[fd00::a]:53",
            "fd00::g",
            "0x",
            "08",
            "10.0.0.1%eth0",
        ] {
            assert_eq!(shown(word), "none", "{word}");
        }
    }
}
