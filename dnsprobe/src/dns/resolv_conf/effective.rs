//! What a C library makes of a `resolv.conf`: its limits and its defaults.
//!
//! | | glibc | musl |
//! |---|---|---|
//! | nameservers | the first 3 | the first 3 |
//! | without any | 127.0.0.1 | 127.0.0.1 |
//! | search list | no limit since 2.26; before, 6 suffixes and 256 characters | none if its line has 255 characters or more |
//! | `ndots` | 1, at most 15 | 1, at most 15 |
//! | `timeout` | 5 s per query, at most 30 s | 5 s for all, at most 60 s |
//! | `attempts` | 2, at most 5 | 2, at most 10 |
//! | asks nameservers | one after the other | all at once |
//!
//! From glibc's `resolv/res_init.c` and `resolv/resolv.h` (2.41) and musl's
//! `src/network/resolvconf.c` (1.2.5). The environment (`LOCALDOMAIN`,
//! `RES_OPTIONS`, glibc only) may change what a process does; it is not looked
//! at here.

use serde::Serialize;

use super::{super::Name, Nameserver, ResolvConf, ResolverOption};

/// `MAXNS` of both.
const NAMESERVERS: usize = 3;
/// `RES_MAXNDOTS` of glibc; the same number in musl.
const MAX_NDOTS: u32 = 15;
/// musl reads lines into 256 bytes, line feed and final zero included, and
/// skips what does not fit.
const MUSL_LINE_BYTES: usize = 254;
/// Suffixes that glibc kept before 2.26.
const OLD_GLIBC_SUFFIXES: usize = 6;
/// Characters of the list that glibc kept before 2.26, `MAXDNAME` aside.
const OLD_GLIBC_LIST_BYTES: usize = 256;

/// A C library with a resolver of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Libc {
    /// The GNU C library: Debian, Ubuntu, Red Hat.
    Glibc,
    /// musl: Alpine.
    Musl,
}

/// A configuration as a library uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// At most three. Empty stands for 127.0.0.1.
    pub nameservers: Vec<Nameserver>,
    /// Suffixes in the order they are tried.
    pub search: Vec<Name>,
    /// Dots from which on a name is tried as it is first.
    pub ndots: u32,
    /// Seconds to wait.
    pub timeout_seconds: u32,
    /// Rounds.
    pub attempts: u32,
    /// What of the file this library does not heed, beyond
    /// [`ResolvConf::ignored`].
    pub unheeded: Vec<Unheeded>,
}

/// Something a library does not heed, or not as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unheeded {
    /// A nameserver beyond the third.
    Nameserver(Nameserver),
    /// musl: the line of the search list is too long, so there is none.
    SearchLine {
        /// Number of the line.
        line: usize,
        /// Its length.
        bytes: usize,
    },
    /// glibc before 2.26 keeps only a part of this search list.
    SearchBeforeGlibc226 {
        /// Number of the line.
        line: usize,
        /// Suffixes in it.
        suffixes: usize,
        /// Characters of the list.
        bytes: usize,
    },
    /// An option that the library does not know.
    Option(super::OptionEntry),
    /// A value above the library's limit.
    Capped {
        /// The option as written.
        entry: super::OptionEntry,
        /// The value in force.
        limit: u32,
    },
}

impl ResolvConf {
    /// What `libc` makes of the file.
    #[must_use]
    pub fn effective(&self, libc: Libc) -> Effective {
        let mut effective = Effective {
            nameservers: self.nameservers.iter().take(NAMESERVERS).cloned().collect(),
            search: Vec::new(),
            ndots: 1,
            timeout_seconds: 5,
            attempts: 2,
            unheeded: Vec::new(),
        };
        let beyond = self.nameservers.iter().skip(NAMESERVERS).cloned();
        effective.unheeded.extend(beyond.map(Unheeded::Nameserver));
        effective.take_search(self, libc);
        for entry in &self.options {
            effective.take_option(entry, libc);
        }
        effective
    }
}

impl Effective {
    fn take_search(&mut self, conf: &ResolvConf, libc: Libc) {
        let Some(search) = &conf.search else { return };
        let (line, suffixes) = (search.line, search.suffixes.len());
        match libc {
            Libc::Musl if search.line_bytes > MUSL_LINE_BYTES => {
                let bytes = search.line_bytes;
                self.unheeded.push(Unheeded::SearchLine { line, bytes });
                return;
            }
            Libc::Glibc
                if suffixes > OLD_GLIBC_SUFFIXES || search.list_bytes > OLD_GLIBC_LIST_BYTES =>
            {
                let bytes = search.list_bytes;
                self.unheeded.push(Unheeded::SearchBeforeGlibc226 { line, suffixes, bytes });
            }
            _ => {}
        }
        self.search.clone_from(&search.suffixes);
    }

    fn take_option(&mut self, entry: &super::OptionEntry, libc: Libc) {
        if !entry.option.heeded_by(libc) {
            self.unheeded.push(Unheeded::Option(entry.clone()));
            return;
        }
        let (field, value, limit) = match (&entry.option, libc) {
            (ResolverOption::Ndots(value), _) => (&mut self.ndots, *value, MAX_NDOTS),
            (ResolverOption::Timeout(value), Libc::Glibc) => {
                (&mut self.timeout_seconds, *value, 30)
            }
            (ResolverOption::Timeout(value), Libc::Musl) => (&mut self.timeout_seconds, *value, 60),
            (ResolverOption::Attempts(value), Libc::Glibc) => (&mut self.attempts, *value, 5),
            (ResolverOption::Attempts(value), Libc::Musl) => (&mut self.attempts, *value, 10),
            _ => return,
        };
        *field = value.min(limit);
        if value > limit {
            self.unheeded.push(Unheeded::Capped { entry: entry.clone(), limit });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effective(text: &str, libc: Libc) -> Effective {
        ResolvConf::parse(text.as_bytes()).effective(libc)
    }

    #[test]
    fn without_a_file_both_use_their_defaults() {
        for libc in [Libc::Glibc, Libc::Musl] {
            let effective = effective("", libc);
            assert_eq!((effective.ndots, effective.timeout_seconds, effective.attempts), (1, 5, 2));
            assert!(effective.nameservers.is_empty() && effective.unheeded.is_empty());
        }
    }

    #[test]
    fn the_fourth_nameserver_is_never_asked() {
        let text = "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4";
        let effective = effective(text, Libc::Glibc);
        assert_eq!(effective.nameservers.len(), 3);
        assert!(
            matches!(&effective.unheeded[..], [Unheeded::Nameserver(server)] if server.line == 4)
        );
    }

    #[test]
    fn values_are_capped_and_the_later_one_counts() {
        let text = "options ndots:20 timeout:45\noptions attempts:9 ndots:5";
        let glibc = effective(text, Libc::Glibc);
        assert_eq!((glibc.ndots, glibc.timeout_seconds, glibc.attempts), (5, 30, 5));
        assert_eq!(glibc.unheeded.len(), 3);
        let musl = effective(text, Libc::Musl);
        assert_eq!((musl.ndots, musl.timeout_seconds, musl.attempts), (5, 45, 9));
        assert!(matches!(&musl.unheeded[..], [Unheeded::Capped { limit: 15, .. }]));
    }

    #[test]
    fn musl_does_not_know_the_options_against_races() {
        let text = "options single-request-reopen ndots:2";
        assert!(effective(text, Libc::Glibc).unheeded.is_empty());
        assert!(matches!(
            &effective(text, Libc::Musl).unheeded[..],
            [Unheeded::Option(entry)] if entry.option == ResolverOption::SingleRequestReopen
        ));
    }

    #[test]
    fn a_search_line_of_255_characters_is_none_to_musl() {
        let line = |bytes: usize| {
            let mut line = "search a.example".to_owned();
            while line.len() + 10 < bytes {
                line.push_str(" b.example");
            }
            line.push(' ');
            while line.len() < bytes {
                line.push('c');
            }
            line
        };
        let fits = effective(&line(254), Libc::Musl);
        assert!(fits.unheeded.is_empty() && fits.search.len() > 20);
        let long = effective(&line(255), Libc::Musl);
        assert_eq!(long.unheeded, [Unheeded::SearchLine { line: 1, bytes: 255 }]);
        assert!(long.search.is_empty());
    }

    #[test]
    fn seven_suffixes_are_too_many_for_old_glibc_only() {
        let text = "search a b c d e f g";
        let glibc = effective(text, Libc::Glibc);
        assert_eq!(glibc.search.len(), 7);
        assert!(matches!(
            glibc.unheeded[..],
            [Unheeded::SearchBeforeGlibc226 { suffixes: 7, bytes: 13, .. }]
        ));
        assert!(effective(text, Libc::Musl).unheeded.is_empty());
    }
}
