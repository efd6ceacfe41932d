//! What messages mean, for people and for machines.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    Terminal, json,
    terminal::Colour,
    text::{clean, wrap},
};
use crate::messages::{Entry, Log};

/// Columns of the label in front of each text.
const INDENT: &str = "              ";

/// The text form.
#[must_use]
pub fn text(log: &Log, terminal: &Terminal) -> String {
    let mut text = String::new();
    for entry in log.entries() {
        describe(entry, log.lines() > 1, terminal, &mut text);
    }
    if log.entries().is_empty() {
        text.push_str(match log.lines() {
            0 => "Nothing to explain: the input is empty.\n",
            _ => {
                "No message about DNS that dnsprobe knows; docs/messages.md lists those it does.\n"
            }
        });
    }
    if log.lines() > 1 {
        let _ = writeln!(text, "{}", totals(log));
    }
    text
}

fn totals(log: &Log) -> String {
    let recognised: u64 = log.entries().iter().map(|entry| entry.times).sum();
    let mut totals = format!(
        "{} lines: {} recognised, {} with other text",
        log.lines(),
        recognised + log.not_kept(),
        log.unrecognised()
    );
    if log.not_kept() > 0 {
        let _ = write!(totals, "; {} recognised lines are not shown", log.not_kept());
    }
    totals
}

fn describe(entry: &Entry, many: bool, terminal: &Terminal, text: &mut String) {
    let message = &entry.message;
    let heading = terminal.paint(Colour::Bold, message.kind.as_str());
    let _ = write!(text, "{heading}  from {}", message.client);
    if many {
        let _ = write!(text, ", line {}", entry.line);
        if entry.times > 1 {
            let _ = write!(text, " and {} more", entry.times - 1);
        }
    }
    text.push('\n');
    let server = message.server.map(|server| server.to_string());
    let next = message.next();
    for (label, value) in [
        ("message", Some(entry.text.as_str())),
        ("name", message.name.as_deref()),
        ("server", server.as_deref()),
        ("directive", message.directive.as_deref()),
        ("ask first", Some(message.kind.question())),
        ("means", Some(message.kind.meaning())),
        ("proves not", Some(message.kind.not_proven())),
        ("next", Some(next.as_str())),
    ] {
        let Some(value) = value else { continue };
        for (index, line) in wrap(&clean(value), INDENT, terminal.width).iter().enumerate() {
            if index == 0 {
                let _ = writeln!(text, "  {label:<12}{}", line.trim_start());
            } else {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text.push('\n');
}

#[derive(Serialize)]
struct Explanation<'a> {
    schema: &'static str,
    kind: &'static str,
    messages: Vec<Explained<'a>>,
    lines: u64,
    unrecognised: u64,
    not_kept: u64,
}

#[derive(Serialize)]
struct Explained<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    question: &'static str,
    meaning: &'static str,
    not_proven: &'static str,
    next: String,
}

impl<'a> Explained<'a> {
    fn new(entry: &'a Entry) -> Self {
        let kind = entry.message.kind;
        Self {
            entry,
            question: kind.question(),
            meaning: kind.meaning(),
            not_proven: kind.not_proven(),
            next: entry.message.next(),
        }
    }
}

/// One JSON object on one line.
///
/// # Errors
/// Those of the serializer.
pub fn json(log: &Log) -> serde_json::Result<String> {
    let explanation = Explanation {
        schema: json::SCHEMA,
        kind: "explanation",
        messages: log.entries().iter().map(Explained::new).collect(),
        lines: log.lines(),
        unrecognised: log.unrecognised(),
        not_kept: log.not_kept(),
    };
    Ok(serde_json::to_string(&explanation)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str) -> Log {
        let mut log = Log::default();
        text.lines().for_each(|line| log.line(line.as_bytes()));
        log
    }

    #[test]
    fn a_message_is_told_with_its_question_and_the_next_command() {
        let text = text(&log("lookup a.b on 10.96.0.10:53: no such host"), &Terminal::PLAIN);
        assert!(text.starts_with("no-such-host  from Go\n"), "{text}");
        assert!(text.contains("\n  server      10.96.0.10:53\n"), "{text}");
        assert!(text.contains("\n  next        dnsprobe query a.b --pod POD\n"), "{text}");
        assert!(!text.contains("lines:"), "{text}");
    }

    #[test]
    fn many_lines_end_with_their_count() {
        let text =
            text(&log("x\nlookup a.b: no such host\nlookup a.b: no such host"), &Terminal::PLAIN);
        assert!(text.contains("from Go, line 2 and 1 more\n"), "{text}");
        assert!(text.ends_with("3 lines: 2 recognised, 1 with other text\n"), "{text}");
    }

    #[test]
    fn nothing_recognised_says_so() {
        assert!(text(&log(""), &Terminal::PLAIN).starts_with("Nothing to explain"));
        assert!(text(&log("x"), &Terminal::PLAIN).starts_with("No message about DNS"));
    }

    #[test]
    fn machines_get_one_line_with_every_key() {
        let json = json(&log("x\nlookup a.b: no such host")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json.lines().count(), 1);
        assert_eq!(value["schema"], "dnsprobe/1");
        assert_eq!(value["kind"], "explanation");
        assert_eq!((value["lines"].as_u64(), value["unrecognised"].as_u64()), (Some(2), Some(1)));
        let message = &value["messages"][0];
        assert_eq!(message["code"], "no-such-host");
        assert_eq!(message["client"], "go");
        assert_eq!(message["name"], "a.b");
        assert!(message["server"].is_null() && message["directive"].is_null());
        assert_eq!(message["next"], "dnsprobe query a.b --pod POD");
    }
}
