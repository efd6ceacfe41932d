//! Pieces of text that several outputs share.

use std::{borrow::Cow, fmt::Write as _};

use dnsprobe_common::flow::Role;

use crate::{
    engine::Query,
    identity::Owner,
    stats::{Completeness, role_name},
};

/// The text without anything a terminal would obey: control characters and
/// those that change the direction of writing become visible escapes. Text
/// that comes from outside is escaped where it enters; this is the last gate.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len());
    for c in text.chars() {
        if harmful(c) {
            cleaned.extend(c.escape_unicode());
        } else {
            cleaned.push(c);
        }
    }
    Cow::Owned(cleaned)
}

/// An owner's label, and its role where it is not the ordinary one.
pub(super) fn label(owner: &Owner, role: Role) -> String {
    let mut label = clean(&owner.to_string()).into_owned();
    if let Owner::Unattributed { reason } = owner {
        let _ = write!(label, " ({reason})");
    }
    if role != Role::Client {
        let _ = write!(label, " ({})", role_name(role));
    }
    label
}

/// Seconds as milliseconds with three or four digits.
pub(super) fn millis(seconds: f64) -> String {
    let ms = seconds * 1e3;
    let decimals = match ms {
        ms if ms < 9.9995 => 3,
        ms if ms < 99.995 => 2,
        ms if ms < 999.95 => 1,
        _ => 0,
    };
    format!("{ms:.decimals$}")
}

/// `name type`, or that it is unknown.
pub(super) fn question(query: &Query) -> String {
    query.question.as_ref().map_or_else(|| "? ?".to_owned(), ToString::to_string)
}

/// `command[pid]` as far as known.
pub(super) fn process(query: &Query) -> String {
    let command = query.command.as_deref().map_or(Cow::Borrowed("?"), clean);
    match query.pid {
        Some(pid) => format!("{command}[{pid}]"),
        None => command.into_owned(),
    }
}

/// What could not be seen, in one line.
pub(super) fn completeness(completeness: &Completeness) -> String {
    let roles: Vec<_> = completeness.missing.iter().map(|missing| clean(&missing.role)).collect();
    let mut unseen = Vec::new();
    if !roles.is_empty() {
        unseen.push(format!("{} (`dnsprobe doctor` says why)", roles.join(", ")));
    }
    for (count, what) in [
        (completeness.lost_events, "events lost (ring buffer full)"),
        (completeness.in_flight_full, "queries not followed (in-flight map full)"),
        (completeness.stats_full, "transactions not counted (statistics map full)"),
        (completeness.tcp_unread, "DNS messages over TCP not read"),
        (completeness.missed_runs, "program runs missed"),
    ] {
        if count > 0 {
            unseen.push(format!("{count} {what}"));
        }
    }
    let mut line = if unseen.is_empty() {
        "everything attached, 0 events lost".to_owned()
    } else {
        format!("could not see: {}", unseen.join("; "))
    };
    if completeness.unattributed_queries > 0 {
        let _ = write!(line, "; {} queries unattributed", completeness.unattributed_queries);
        let reasons: Vec<String> = completeness
            .unattributed
            .iter()
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        if !reasons.is_empty() {
            let _ = write!(line, " ({})", reasons.join(", "));
        }
    }
    line
}

/// Breaks a text at blanks so that no line is longer than `width` columns,
/// each led by `indent`; words longer than a line are cut. Counts characters,
/// which are columns in the text written here.
pub(super) fn wrap(text: &str, indent: &str, width: usize) -> Vec<String> {
    let room = width.saturating_sub(indent.chars().count()).max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let mut word: &str = word;
        let mut length = word.chars().count();
        if used > 0 && used + 1 + length > room {
            lines.push(format!("{indent}{line}"));
            line.clear();
            used = 0;
        }
        while length > room {
            let cut = word.char_indices().nth(room).map_or(word.len(), |(at, _)| at);
            lines.push(format!("{indent}{}", &word[..cut]));
            word = &word[cut..];
            length -= room;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += length;
    }
    lines.push(format!("{indent}{line}"));
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{identity::UnattributedReason, stats::Missing};

    #[test]
    fn milliseconds_keep_their_digits() {
        for (seconds, text) in [
            (0.0, "0.000"),
            (0.000_082, "0.082"),
            (0.009_999_9, "10.00"),
            (0.0201, "20.10"),
            (0.25, "250.0"),
            (0.999_96, "1000"),
            (5.004, "5004"),
        ] {
            assert_eq!(millis(seconds), text);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_becomes_visible() {
        assert_eq!(clean("a\x1b[31m\n\u{9b}\u{202e}é"), r"a\u{1b}[31m\u{a}\u{9b}\u{202e}é");
        assert!(matches!(clean("20.1 µs"), Cow::Borrowed(_)));
    }

    #[test]
    fn completeness_names_all_that_is_missing() {
        let mut seen = Completeness::default();
        assert_eq!(completeness(&seen), "everything attached, 0 events lost");
        seen.unattributed_queries = 4;
        seen.unattributed =
            [(UnattributedReason::CgroupGone, 3), (UnattributedReason::ProcessGone, 1)].into();
        assert_eq!(
            completeness(&seen),
            "everything attached, 0 events lost; 4 queries unattributed (cgroup-gone 3, \
             process-gone 1)"
        );
        seen.missing.push(Missing { role: "clash".into(), reason: "no kprobes".into() });
        seen.lost_events = 2;
        assert_eq!(
            completeness(&seen),
            "could not see: clash (`dnsprobe doctor` says why); 2 events lost (ring buffer full); \
             4 queries unattributed (cgroup-gone 3, process-gone 1)"
        );
    }

    #[test]
    fn lines_are_broken_at_blanks() {
        assert_eq!(wrap("one two three", "  ", 9), ["  one two", "  three"]);
        assert_eq!(wrap("abcdefgh ij", "", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("", "  ", 9), ["  "]);
    }

    proptest! {
        #[test]
        fn no_wrapped_line_is_too_long_and_nothing_is_lost(text in "[a-zµ ]{0,200}", width in 4_usize..60) {
            let lines = wrap(&text, "  ", width);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= width));
            let letters = |s: &str| s.chars().filter(|c| *c != ' ').collect::<String>();
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }
    }
}
