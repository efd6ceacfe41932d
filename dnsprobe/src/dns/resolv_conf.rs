//! `resolv.conf` as the C libraries read it: nameservers, the search list,
//! options, and every line that has no effect, with its number and why.
//!
//! What glibc and musl make of the same file differs; that is
//! [`ResolvConf::effective`], with the limits of each library.

mod address;
mod effective;
mod expansion;
mod option;

use std::net::IpAddr;

use serde::Serialize;

use super::Name;
use crate::identity::escape;
pub use effective::{Effective, Libc, Unheeded};
pub use option::{ResolverOption, parse_option};

/// Bytes of the file that are read; the rest is cut off and
/// [`ResolvConf::cut`] says so. A real file has a few hundred.
pub const MAX_BYTES: usize = 64 * 1024;

/// Characters of a line that are kept where it is quoted.
const QUOTED_BYTES: usize = 200;

/// A parsed file. Nothing in it is trusted: names are printed escaped, and
/// quoted text is escaped already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// In the order of the file, without a limit on their number.
    pub nameservers: Vec<Nameserver>,
    /// The last `search` or `domain` line, which is the one that counts.
    pub search: Option<Search>,
    /// In the order of the file; of two that set the same, the later counts.
    pub options: Vec<OptionEntry>,
    /// Lines and parts of lines that have no effect. Comments and empty lines
    /// are not among them.
    pub ignored: Vec<Ignored>,
    /// The file was longer than [`MAX_BYTES`].
    pub cut: bool,
}

/// A `nameserver` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nameserver {
    /// Number of the line, from 1.
    pub line: usize,
    /// The address.
    pub address: IpAddr,
    /// What follows `%` in an IPv6 address: an interface's name or index,
    /// escaped.
    pub scope: Option<String>,
}

/// A `search` or `domain` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Number of the line, from 1.
    pub line: usize,
    /// Which of the two it is.
    pub keyword: SearchKeyword,
    /// Suffixes in the order they are tried; one at most for `domain`.
    pub suffixes: Vec<Name>,
    /// Length of the whole line without its line feed.
    pub line_bytes: usize,
    /// Length of the list as written, from the first suffix to the last.
    pub list_bytes: usize,
}

/// The keyword of a search list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SearchKeyword {
    /// `search`: a list.
    Search,
    /// `domain`: a list of one.
    Domain,
}

/// One option and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionEntry {
    /// Number of the line, from 1.
    pub line: usize,
    /// The option.
    pub option: ResolverOption,
}

/// Something in the file that has no effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ignored {
    /// Number of the line, from 1.
    pub line: usize,
    /// The line or the part of it, escaped; cut when long.
    pub text: String,
    /// Why it has no effect.
    pub reason: IgnoredReason,
}

/// Why something has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IgnoredReason {
    /// The keyword is none that a C library knows. Keywords are in lower case.
    UnknownKeyword,
    /// glibc wants the keyword at the very start of the line; musl too.
    LeadingBlank,
    /// `nameserver` without an address.
    BadAddress,
    /// A search suffix that is no domain name.
    BadName,
    /// An option's value is missing or no number. (glibc reads it as 0 where
    /// it expects one.)
    BadValue,
    /// The keyword stands alone.
    NoValue,
    /// A later `search` or `domain` line replaced this one.
    Replaced,
    /// `sortlist`: glibc sorts by it in `gethostbyname` only, musl never.
    Sortlist,
    /// Further words behind the one that counts.
    TrailingText,
}

impl IgnoredReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::UnknownKeyword,
        Self::LeadingBlank,
        Self::BadAddress,
        Self::BadName,
        Self::BadValue,
        Self::NoValue,
        Self::Replaced,
        Self::Sortlist,
        Self::TrailingText,
    ];

    /// For people.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::UnknownKeyword => "no C library knows this keyword",
            Self::LeadingBlank => "a keyword counts only at the start of its line",
            Self::BadAddress => "not an IP address",
            Self::BadName => "not a domain name",
            Self::BadValue => "the value is missing or not a number",
            Self::NoValue => "nothing follows the keyword",
            Self::Replaced => "a later search or domain line replaces it",
            Self::Sortlist => "sortlist has no effect on getaddrinfo",
            Self::TrailingText => "only the first word behind the keyword counts",
        }
    }
}

impl ResolvConf {
    /// Reads a file's content. Never fails: what cannot be used is in
    /// [`ResolvConf::ignored`].
    #[must_use]
    pub fn parse(content: &[u8]) -> Self {
        let cut = content.len() > MAX_BYTES;
        let content = &content[..content.len().min(MAX_BYTES)];
        let mut conf = Self { cut, ..Self::default() };
        for (index, line) in content.split(|&byte| byte == b'\n').enumerate() {
            conf.line(index + 1, line);
        }
        conf.ignored.sort_by_key(|ignored| ignored.line);
        conf
    }

    fn line(&mut self, number: usize, line: &[u8]) {
        let mut words = words(line);
        let Some(keyword) = words.next() else { return };
        if matches!(line[0], b'#' | b';') {
            return;
        }
        if is_blank(line[0]) {
            // Indented comments have no effect either, but nobody expects any.
            if !matches!(keyword[0], b'#' | b';') {
                self.ignore(number, line, IgnoredReason::LeadingBlank);
            }
            return;
        }
        match keyword {
            b"nameserver" => self.nameserver(number, line, words),
            b"search" => self.search(number, line, SearchKeyword::Search, words),
            b"domain" => self.search(number, line, SearchKeyword::Domain, words),
            b"options" => self.options(number, line, words),
            b"sortlist" => self.ignore(number, line, IgnoredReason::Sortlist),
            _ => self.ignore(number, line, IgnoredReason::UnknownKeyword),
        }
    }

    fn nameserver<'a>(
        &mut self,
        number: usize,
        line: &[u8],
        mut words: impl Iterator<Item = &'a [u8]>,
    ) {
        let Some(word) = words.next() else {
            return self.ignore(number, line, IgnoredReason::NoValue);
        };
        match address::parse(word) {
            Some((address, scope)) => {
                self.nameservers.push(Nameserver { line: number, address, scope });
                self.trailing(number, words);
            }
            None => self.ignore(number, line, IgnoredReason::BadAddress),
        }
    }

    fn search<'a>(
        &mut self,
        number: usize,
        line: &[u8],
        keyword: SearchKeyword,
        words: impl Iterator<Item = &'a [u8]>,
    ) {
        let mut words = words.peekable();
        if words.peek().is_none() {
            return self.ignore(number, line, IgnoredReason::NoValue);
        }
        let mut suffixes = Vec::new();
        let mut bounds: Option<(usize, usize)> = None;
        for word in words.by_ref() {
            // `word` is a part of `line`, so this is its place in it.
            let start = word.as_ptr() as usize - line.as_ptr() as usize;
            bounds = Some((bounds.map_or(start, |(first, _)| first), start + word.len()));
            match std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()) {
                Some(suffix) => suffixes.push(suffix),
                None => self.ignore(number, word, IgnoredReason::BadName),
            }
            if keyword == SearchKeyword::Domain {
                break;
            }
        }
        self.trailing(number, words);
        let list_bytes = bounds.map_or(0, |(first, end)| end - first);
        let search = Search { line: number, keyword, suffixes, line_bytes: line.len(), list_bytes };
        if let Some(earlier) = self.search.replace(search) {
            let text = match earlier.keyword {
                SearchKeyword::Search => "search",
                SearchKeyword::Domain => "domain",
            };
            let list = earlier.suffixes.iter().map(Name::to_string).collect::<Vec<_>>().join(" ");
            let text = format!("{text} {list}");
            self.ignore(earlier.line, text.as_bytes(), IgnoredReason::Replaced);
        }
    }

    fn options<'a>(&mut self, number: usize, line: &[u8], words: impl Iterator<Item = &'a [u8]>) {
        let mut any = false;
        for word in words {
            any = true;
            match parse_option(word) {
                Some(option) => self.options.push(OptionEntry { line: number, option }),
                None => self.ignore(number, word, IgnoredReason::BadValue),
            }
        }
        if !any {
            self.ignore(number, line, IgnoredReason::NoValue);
        }
    }

    /// Notes words that follow the last one that counts.
    fn trailing<'a>(&mut self, number: usize, words: impl Iterator<Item = &'a [u8]>) {
        let rest: Vec<_> = words.collect();
        if !rest.is_empty() {
            self.ignore(number, &rest.join(&b' '), IgnoredReason::TrailingText);
        }
    }

    fn ignore(&mut self, line: usize, text: &[u8], reason: IgnoredReason) {
        self.ignored.push(Ignored { line, text: quote(text), reason });
    }
}

/// Both libraries separate words by blanks and tabs; musl by any white space,
/// of which a carriage return is the only one seen in practice.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| is_blank(byte)).filter(|word| !word.is_empty())
}

/// The text as it may be printed.
fn quote(text: &[u8]) -> String {
    let mut quoted = escape(&text[..text.len().min(QUOTED_BYTES)]);
    if text.len() > QUOTED_BYTES {
        quoted.push_str("...");
    }
    quoted
}

#[cfg(test)]
mod tests;
