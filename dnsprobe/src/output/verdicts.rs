//! The report at the end: verdicts by cause and owner, each with the proof of
//! its first example and the advice.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use serde_json::Value;

use super::{
    Terminal,
    terminal::Colour,
    text::{clean, process, question, wrap},
};
use crate::{
    engine::{Cause, Query, Verdict},
    identity::Owner,
    time::Timestamp,
};

/// Groups kept; verdicts of further ones are only counted.
const GROUPS: usize = 1_000;
/// Columns of the titles in front of a group's lines.
const TITLE_WIDTH: usize = 12;

/// Collects verdicts for the report.
#[derive(Debug, Default)]
pub struct Report {
    groups: BTreeMap<(Cause, Arc<Owner>), Group>,
    lost: u64,
    near_misses: u64,
    ungrouped: u64,
}

#[derive(Debug)]
struct Group {
    count: u64,
    /// How many were A/AAAA pairs on one socket.
    pairs: u64,
    first: Verdict,
    last: Timestamp,
}

impl Report {
    /// A report without verdicts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a verdict.
    pub fn add(&mut self, verdict: &Verdict) {
        if verdict.loss {
            self.lost += 1;
        } else {
            self.near_misses += 1;
        }
        let key = (verdict.cause, Arc::clone(&verdict.owner));
        if self.groups.len() >= GROUPS && !self.groups.contains_key(&key) {
            self.ungrouped += 1;
            return;
        }
        let group = self.groups.entry(key).or_insert_with(|| Group {
            count: 0,
            pairs: 0,
            first: verdict.clone(),
            last: verdict.time,
        });
        group.count += 1;
        group.pairs += u64::from(verdict.pair);
        group.last = group.last.max(verdict.time);
    }

    /// The report as text; ends with a line break.
    #[must_use]
    pub fn render(&self, terminal: &Terminal) -> String {
        let heading = format!(
            "VERDICTS: {}, {}",
            plural(self.lost, "query lost", "queries lost"),
            plural(self.near_misses, "near miss", "near misses")
        );
        let mut text = format!("{}\n", terminal.paint(Colour::Bold, &heading));
        let mut groups: Vec<&Group> = self.groups.values().collect();
        // Losses before near misses, the most frequent first.
        groups.sort_by_key(|group| std::cmp::Reverse((group.first.loss, group.count)));
        for group in groups {
            text.push('\n');
            for line in group.lines(terminal) {
                text.push_str(&line);
                text.push('\n');
            }
        }
        if self.ungrouped > 0 {
            let _ = writeln!(text, "\nand {} verdicts of further owners", self.ungrouped);
        }
        text
    }
}

impl Group {
    fn lines(&self, terminal: &Terminal) -> Vec<String> {
        let verdict = &self.first;
        let (colour, count) = if verdict.loss {
            (Colour::Loss, plural(self.count, "query lost", "queries lost"))
        } else {
            (Colour::Warning, plural(self.count, "near miss", "near misses"))
        };
        let mut heading =
            format!("{}  {}  {count}", verdict.cause, clean(&verdict.owner.to_string()));
        if self.pairs > 0 {
            let _ = write!(heading, ", {} in an A/AAAA pair on one socket", self.pairs);
        }
        let mut lines: Vec<String> = wrap(&heading, "", terminal.width)
            .iter()
            .map(|line| terminal.paint(colour, line))
            .collect();
        let mut add = |title: &str, text: &str| {
            lines.extend(titled(title, text, terminal.width));
        };
        if self.count > 1 {
            add("when", &format!("{} to {}", verdict.time, self.last));
        } else {
            add("when", &verdict.time.to_string());
        }
        add("proof", &verdict.summary);
        add("query", &query_text(&verdict.query));
        if let Some(sibling) = &verdict.sibling {
            add("other query", &format!("{} of {}", query_text(&sibling.query), sibling.owner));
        }
        for (side, direction, tuple) in tuples(verdict) {
            add(&format!("{side}'s"), &format!("{direction} {tuple}"));
        }
        for evidence in &verdict.evidence {
            add("evidence", &format!("{} {}", evidence.at, evidence.fact));
        }
        if !verdict.missing.is_empty() {
            add("unseen", &format!("not attached: {}", verdict.missing.join(", ")));
        }
        add("advice", verdict.advice);
        lines
    }
}

/// The conntrack tuples of a clash: side, direction, tuple.
fn tuples(verdict: &Verdict) -> Vec<(&'static str, &'static str, &str)> {
    let Some(tuples) = verdict.evidence.iter().find_map(|e| e.detail.get("tuples")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for side in ["loser", "winner"] {
        for direction in ["original", "reply"] {
            if let Some(Value::String(tuple)) = tuples.get(side).and_then(|s| s.get(direction)) {
                found.push((side, direction, tuple.as_str()));
            }
        }
    }
    found
}

fn query_text(query: &Query) -> String {
    format!(
        "{} id {} {} -> {}{} by {}, sent {}",
        question(query),
        query.id,
        query.client,
        query.server,
        query.ends(),
        process(query),
        query.sent
    )
}

/// A title and a text beside it, wrapped behind the title.
fn titled(title: &str, text: &str, width: usize) -> Vec<String> {
    let indent = " ".repeat(TITLE_WIDTH + 3);
    let mut lines = wrap(&clean(text), &indent, width);
    if let Some(first) = lines.first_mut() {
        first.replace_range(..indent.len(), &format!("  {title:<TITLE_WIDTH$} "));
    }
    lines
}

fn plural(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::{clash, near_miss};

    #[test]
    fn the_report_groups_by_cause_and_owner_and_shows_the_first_proof() {
        let mut report = Report::new();
        report.add(&near_miss());
        report.add(&clash());
        report.add(&clash());
        assert_eq!(
            report.render(&Terminal::PLAIN),
            "\
VERDICTS: 2 queries lost, 1 near miss

conntrack-clash  shop/cart-0  2 queries lost
  when         1970-01-01T00:00:11.000000Z to 1970-01-01T00:00:11.000000Z
  proof        the kernel dropped it
  query        race.test.svc. AAAA id 4660 10.244.0.11:40000 -> 10.96.0.10:53 by dnsq[123], sent
               1970-01-01T00:00:10.000000Z
  other query  race.test.svc. A id 4661 10.244.0.11:40000 -> 10.96.0.11:53 by dnsq[123], sent
               1970-01-01T00:00:10.000000Z of shop/cart-0
  loser's      original udp 10.244.0.11:40000 -> 10.96.0.10:53
  loser's      reply udp 10.244.0.2:53 -> 10.244.0.11:40000
  winner's     original udp 10.244.0.11:40000 -> 10.96.0.11:53
  winner's     reply udp 10.244.0.2:53 -> 10.244.0.11:40000
  evidence     1970-01-01T00:00:11.000000Z __nf_conntrack_confirm returned NF_DROP
  advice       use a node-local DNS cache

conntrack-clash-resolved  shop/cart-0  1 near miss, 1 in an A/AAAA pair on one socket
  when         1970-01-01T00:00:11.000000Z
  proof        the kernel merged the entries
  query        race.test.svc. AAAA id 4660 10.244.0.11:40000 -> 10.96.0.10:53 by dnsq[123], sent
               1970-01-01T00:00:10.000000Z
  advice       nothing was lost
"
        );
    }

    #[test]
    fn no_verdicts_are_told_as_such() {
        assert_eq!(
            Report::new().render(&Terminal::PLAIN),
            "VERDICTS: 0 queries lost, 0 near misses\n"
        );
    }

    #[test]
    fn hostile_text_stays_on_its_line() {
        let mut hostile = clash();
        hostile.summary = "a\nVERDICTS: 0 queries lost\x1b[1A".to_owned();
        hostile.missing = vec!["x\ny".to_owned()];
        let mut report = Report::new();
        report.add(&hostile);
        let text = report.render(&Terminal::PLAIN);
        assert!(text.contains(r"a\u{a}VERDICTS: 0 queries lost\u{1b}[1A"), "{text}");
        assert!(text.contains(r"not attached: x\u{a}y"), "{text}");
        assert!(!text.contains('\x1b'));
    }
}
