//! Many lines: each message once, with its first line and how often it came.

use std::collections::HashMap;

use serde::Serialize;

use super::{Message, recognise};
use crate::identity::escape;

/// Different messages that are kept; later new ones are only counted.
const MESSAGES: usize = 1_000;
/// Bytes of a line that are quoted.
const QUOTED_BYTES: usize = 400;

/// What a log says.
#[derive(Clone, Debug, Default)]
pub struct Log {
    entries: Vec<Entry>,
    index: HashMap<Message, usize>,
    lines: u64,
    unrecognised: u64,
    not_kept: u64,
}

/// One message of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The message.
    #[serde(flatten)]
    pub message: Message,
    /// Number of the first line that says so, from 1.
    pub line: u64,
    /// Lines that say so.
    pub times: u64,
    /// The first of them, escaped; cut when long.
    pub text: String,
}

impl Log {
    /// Reads one line. Empty ones count as lines, not as unrecognised.
    pub fn line(&mut self, bytes: &[u8]) {
        self.lines += 1;
        let line = String::from_utf8_lossy(bytes);
        if line.trim().is_empty() {
            return;
        }
        let Some(message) = recognise(&line) else {
            self.unrecognised += 1;
            return;
        };
        if let Some(&at) = self.index.get(&message) {
            self.entries[at].times += 1;
        } else if self.entries.len() < MESSAGES {
            self.index.insert(message.clone(), self.entries.len());
            let text = quote(line.trim().as_bytes());
            self.entries.push(Entry { message, line: self.lines, times: 1, text });
        } else {
            self.not_kept += 1;
        }
    }

    /// Each message once, in the order of the lines.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Lines read.
    #[must_use]
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// Lines with text that is no known message.
    #[must_use]
    pub const fn unrecognised(&self) -> u64 {
        self.unrecognised
    }

    /// Lines with further messages, for which there was no room.
    #[must_use]
    pub const fn not_kept(&self) -> u64 {
        self.not_kept
    }
}

fn quote(line: &[u8]) -> String {
    let mut text = escape(&line[..line.len().min(QUOTED_BYTES)]);
    if line.len() > QUOTED_BYTES {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Log {
        let mut log = Log::default();
        text.lines().for_each(|line| log.line(line.as_bytes()));
        log
    }

    #[test]
    fn each_message_is_told_once_and_the_rest_counted() {
        let log = read(
            "[INFO] plugin/reload: Running configuration SHA512 = 1\n\
             \n\
             [ERROR] plugin/errors: 2 a.example. A: read udp 10.0.0.1:1->8.8.8.8:53: i/o timeout\n\
             [ERROR] plugin/errors: 2 a.example. A: read udp 10.0.0.1:2->8.8.8.8:53: i/o timeout\n\
             [ERROR] plugin/errors: 2 b.example. A: read udp 10.0.0.1:3->8.8.8.8:53: i/o timeout\n",
        );
        let told: Vec<_> = log
            .entries()
            .iter()
            .map(|entry| (entry.message.name.as_deref().unwrap(), entry.line, entry.times))
            .collect();
        assert_eq!(told, [("a.example.", 3, 2), ("b.example.", 5, 1)]);
        assert_eq!((log.lines(), log.unrecognised(), log.not_kept()), (5, 1, 0));
    }

    #[test]
    fn a_flood_of_different_names_is_bounded_and_counted() {
        let mut log = Log::default();
        for number in 0..MESSAGES + 7 {
            log.line(format!("lookup n{number} on 10.0.0.1:53: no such host").as_bytes());
        }
        assert_eq!((log.entries().len(), log.not_kept()), (MESSAGES, 7));
    }

    #[test]
    fn quoted_lines_are_escaped_and_cut() {
        let mut log = Log::default();
        log.line(b"\x1b[2Jcurl: (6) Could not resolve host: a\x1b]0;x\x07");
        let entry = &log.entries()[0];
        assert!(entry.text.starts_with(r"\027[2Jcurl"));
        assert_eq!(entry.message.name.as_deref(), Some(r"a\027]0;x\007"));
        assert!(entry.message.next().contains(" NAME "));
        assert_eq!(quote(&[b'a'; 500]).len(), QUOTED_BYTES + 3);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_and_printed_safely(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut log = Log::default();
            log.line(&bytes);
            for entry in log.entries() {
                prop_assert!(entry.text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
        }

        #[test]
        fn any_words_between_known_ones_are_read_safely(
            words in prop::collection::vec(prop_oneof![
                Just("lookup ".to_owned()), Just(" on ".to_owned()), Just(": ".to_owned()),
                Just("no such host".to_owned()), Just("plugin/errors: ".to_owned()),
                Just("i/o timeout".to_owned()), Just("->".to_owned()), Just("dial tcp ".to_owned()),
                Just("getaddrinfo ENOTFOUND ".to_owned()), Just("UnknownHostException: ".to_owned()),
                Just("Try again".to_owned()), Just("\"".to_owned()), Just("[/".to_owned()),
                Just("Resolving ".to_owned()), Just("Name or service not known".to_owned()),
                "\\PC{0,12}",
            ], 0..12)
        ) {
            let mut log = Log::default();
            log.line(words.concat().as_bytes());
            for entry in log.entries() {
                let shown = [entry.message.name.as_deref(), entry.message.directive.as_deref()];
                for text in shown.into_iter().flatten().chain([entry.message.next().as_str()]) {
                    prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
                }
            }
        }
    }
}
