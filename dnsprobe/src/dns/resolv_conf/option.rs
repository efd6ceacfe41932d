//! The options of `resolv.conf`.

use std::{borrow::Cow, fmt};

use super::{Libc, quote};

/// One option. Values are as written; [`super::Effective`] has them as the
/// library caps them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ResolverOption {
    /// Names with fewer dots are tried with the search list first.
    Ndots(u32),
    /// Seconds to wait for an answer.
    Timeout(u32),
    /// Rounds over the nameservers.
    Attempts(u32),
    /// Start with another nameserver each time.
    Rotate,
    /// Ask A and AAAA one after the other.
    SingleRequest,
    /// Use another socket for the second of A and AAAA if the first is not
    /// answered.
    SingleRequestReopen,
    /// Ask over TCP only.
    UseVc,
    /// Announce EDNS(0).
    Edns0,
    /// Ask for and keep the AD bit.
    TrustAd,
    /// Do not ask for AAAA.
    NoAaaa,
    /// Do not read the file again when it changes.
    NoReload,
    /// Do not ask for names without a dot as they are.
    NoTldQuery,
    /// Without effect in every library in use: glibc took them out or never
    /// acted on them.
    Obsolete(&'static str),
    /// Known to no library; escaped.
    Unknown(String),
}

/// Options without a value, by name.
const FLAGS: [(&str, ResolverOption); 17] = [
    ("rotate", ResolverOption::Rotate),
    ("single-request", ResolverOption::SingleRequest),
    ("single-request-reopen", ResolverOption::SingleRequestReopen),
    ("use-vc", ResolverOption::UseVc),
    ("edns0", ResolverOption::Edns0),
    ("trust-ad", ResolverOption::TrustAd),
    ("no-aaaa", ResolverOption::NoAaaa),
    ("no-reload", ResolverOption::NoReload),
    ("no-tld-query", ResolverOption::NoTldQuery),
    ("no_tld_query", ResolverOption::NoTldQuery),
    ("debug", ResolverOption::Obsolete("debug")),
    ("inet6", ResolverOption::Obsolete("inet6")),
    ("ip6-bytestring", ResolverOption::Obsolete("ip6-bytestring")),
    ("ip6-dotint", ResolverOption::Obsolete("ip6-dotint")),
    ("no-ip6-dotint", ResolverOption::Obsolete("no-ip6-dotint")),
    ("no-check-names", ResolverOption::Obsolete("no-check-names")),
    ("insecure1", ResolverOption::Obsolete("insecure1")),
];

/// Reads one word of an `options` line; `None` when a known option's value is
/// missing or no number.
#[must_use]
pub fn parse_option(word: &[u8]) -> Option<ResolverOption> {
    let colon = word.iter().position(|&byte| byte == b':');
    let (name, value) = match colon {
        Some(at) => (&word[..at], Some(&word[at + 1..])),
        None => (word, None),
    };
    match name {
        b"ndots" => return number(value?).map(ResolverOption::Ndots),
        b"timeout" => return number(value?).map(ResolverOption::Timeout),
        b"attempts" => return number(value?).map(ResolverOption::Attempts),
        _ => {}
    }
    let flag = FLAGS.iter().find(|(known, _)| known.as_bytes() == word);
    Some(flag.map_or_else(|| ResolverOption::Unknown(quote(word)), |(_, flag)| flag.clone()))
}

/// Leading digits, as `strtoul` reads them; larger than fits is the largest.
fn number(value: &[u8]) -> Option<u32> {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(None, |number, digit| {
        Some(number.unwrap_or(0_u32).saturating_mul(10).saturating_add(u32::from(digit - b'0')))
    })
}

impl ResolverOption {
    /// Whether a library acts on it.
    ///
    /// musl (`resolvconf.c`) reads `ndots`, `timeout` and `attempts` only.
    #[must_use]
    pub fn heeded_by(&self, libc: Libc) -> bool {
        match self {
            Self::Ndots(_) | Self::Timeout(_) | Self::Attempts(_) => true,
            Self::Obsolete(_) | Self::Unknown(_) => false,
            _ => libc == Libc::Glibc,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        let flag = match self {
            Self::Ndots(value) => return format!("ndots:{value}").into(),
            Self::Timeout(value) => return format!("timeout:{value}").into(),
            Self::Attempts(value) => return format!("attempts:{value}").into(),
            Self::Unknown(text) => text,
            Self::Rotate => "rotate",
            Self::SingleRequest => "single-request",
            Self::SingleRequestReopen => "single-request-reopen",
            Self::UseVc => "use-vc",
            Self::Edns0 => "edns0",
            Self::TrustAd => "trust-ad",
            Self::NoAaaa => "no-aaaa",
            Self::NoReload => "no-reload",
            Self::NoTldQuery => "no-tld-query",
            Self::Obsolete(name) => name,
        };
        flag.into()
    }
}

impl fmt::Display for ResolverOption {
    /// As in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_print_as_they_are_written() {
        for word in [
            "ndots:5",
            "timeout:2",
            "attempts:3",
            "rotate",
            "single-request",
            "single-request-reopen",
            "use-vc",
            "edns0",
            "trust-ad",
            "no-aaaa",
            "no-reload",
            "no-tld-query",
            "inet6",
            "whatever:1",
        ] {
            assert_eq!(parse_option(word.as_bytes()).unwrap().to_string(), word);
        }
        assert_eq!(parse_option(b"no_tld_query"), Some(ResolverOption::NoTldQuery));
    }

    #[test]
    fn values_are_read_as_strtoul_does() {
        assert_eq!(parse_option(b"ndots:5x"), Some(ResolverOption::Ndots(5)));
        assert_eq!(parse_option(b"ndots:99999999999"), Some(ResolverOption::Ndots(u32::MAX)));
        assert_eq!(parse_option(b"ndots:0"), Some(ResolverOption::Ndots(0)));
        for word in ["ndots", "ndots:", "ndots:x", "timeout:-1", "attempts:"] {
            assert_eq!(parse_option(word.as_bytes()), None, "{word}");
        }
    }

    #[test]
    fn musl_heeds_three_options_and_nobody_an_unknown_one() {
        assert!(ResolverOption::Ndots(5).heeded_by(Libc::Musl));
        assert!(!ResolverOption::SingleRequestReopen.heeded_by(Libc::Musl));
        assert!(ResolverOption::SingleRequestReopen.heeded_by(Libc::Glibc));
        assert!(!ResolverOption::Unknown("x".to_owned()).heeded_by(Libc::Glibc));
        assert!(!ResolverOption::Obsolete("inet6").heeded_by(Libc::Glibc));
    }
}
