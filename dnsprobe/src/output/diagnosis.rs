//! The report of `diagnose`: findings, what was ruled out, what was not seen.

use std::fmt::Write as _;

use super::{
    Terminal,
    terminal::Colour,
    text::{clean, completeness, wrap},
};
use crate::findings::{Diagnosis, Finding};

/// Columns of the titles in front of a finding's lines.
const TITLE_WIDTH: usize = 9;
/// Pods and items named in a line.
const NAMED: usize = 8;

/// The whole report; ends with a line break.
#[must_use]
pub fn render(diagnosis: &Diagnosis, terminal: &Terminal) -> String {
    let mut text = String::new();
    for line in wrap(&heading(diagnosis), "", terminal.width) {
        let _ = writeln!(text, "{}", terminal.paint(Colour::Bold, &line));
    }
    for finding in &diagnosis.findings {
        text.push('\n');
        for line in lines(finding, terminal) {
            let _ = writeln!(text, "{line}");
        }
    }
    text.push('\n');
    let mut add = |title: &str, body: &str| {
        for line in titled(title, body, terminal.width) {
            let _ = writeln!(text, "{line}");
        }
    };
    if !diagnosis.ruled_out.is_empty() {
        let texts: Vec<&str> = diagnosis.ruled_out.iter().map(|item| item.text.as_str()).collect();
        add("ruled out", &texts.join("; "));
    }
    for item in &diagnosis.not_ruled_out {
        add("not seen", &format!("{}: {}", item.what, item.reason));
    }
    for (what, count) in &diagnosis.not_kept {
        add("not kept", &format!("{count} {what}, no room"));
    }
    if diagnosis.in_flight > 0 {
        add("waiting", &format!("{} queries were not decided yet", diagnosis.in_flight));
    }
    add("seen", &completeness(&diagnosis.completeness));
    text
}

fn heading(diagnosis: &Diagnosis) -> String {
    let seconds = diagnosis.since_seconds;
    if diagnosis.queries == 0 && diagnosis.findings.is_empty() {
        return format!(
            "DIAGNOSIS: no DNS query was seen in {seconds:.1} s, so nothing can be said"
        );
    }
    let faults = diagnosis.findings.iter().filter(|finding| finding.fault).count();
    format!(
        "DIAGNOSIS: {} and {} in {seconds:.1} s; {} queries, {} answered, {} lost",
        plural(faults, "fault"),
        plural(diagnosis.findings.len() - faults, "note"),
        diagnosis.queries,
        diagnosis.answered,
        diagnosis.lost_total
    )
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn lines(finding: &Finding, terminal: &Terminal) -> Vec<String> {
    let (word, colour) =
        if finding.fault { ("FAULT", Colour::Loss) } else { ("NOTE", Colour::Warning) };
    let subject =
        finding.subject.as_deref().map_or_else(String::new, |s| format!(" ({})", clean(s)));
    let heading = format!("{word}  {}{subject}", finding.code);
    let mut lines: Vec<String> = wrap(&heading, "", terminal.width)
        .iter()
        .map(|line| terminal.paint(colour, line))
        .collect();
    let mut add = |title: &str, body: &str| lines.extend(titled(title, body, terminal.width));
    add("what", finding.summary);
    add("pods", &pods(finding));
    add(
        "when",
        &format!(
            "{}: {} times beside {} queries of these pods, {} to {}",
            finding.pattern, finding.count, finding.queries, finding.first, finding.last
        ),
    );
    for proof in &finding.proof {
        add("proof", proof);
    }
    if !finding.items.is_empty() {
        let items = finding.items.iter().map(|item| format!("{} ({})", item.what, item.count));
        add("of these", &some(items, finding.items.len()));
    }
    add("to do", finding.advice);
    lines
}

fn pods(finding: &Finding) -> String {
    let pods = finding.pods.iter().map(|pod| format!("{} ({})", pod.owner, pod.count));
    some(pods, finding.pods.len())
}

/// The first few, and how many more there are.
fn some(all: impl Iterator<Item = String>, count: usize) -> String {
    let named: Vec<String> = all.take(NAMED).collect();
    let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
    named.join(", ") + &more
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

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        time::{Duration, SystemTime},
    };

    use super::*;
    use crate::{
        engine::Pattern,
        findings::{AffectedPod, Code, FindingCode, Harm, Item, RuledOut},
        output::testing::cart,
        stats::Completeness,
        time::Timestamp,
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    fn diagnosis() -> Diagnosis {
        Diagnosis {
            time: at(30),
            since_seconds: 30.0,
            queries: 412,
            answered: 412,
            lost_total: 0,
            in_flight: 0,
            fault: true,
            findings: vec![Finding {
                code: Code::Finding(FindingCode::UpstreamServfail),
                subject: Some("10.0.0.2:53".into()),
                harm: Harm::WrongAnswer,
                fault: true,
                count: 37,
                queries: 400,
                pods: vec![AffectedPod { owner: cart(), count: 37, queries: 400 }],
                pattern: Pattern::Frequent,
                first: at(3),
                last: at(29),
                summary: "The upstream failed.",
                proof: vec!["a query\x1b[2J".into()],
                items: vec![Item { what: "www.example.com.".into(), count: 37 }],
                advice: "Tell its operator.",
            }],
            ruled_out: vec![RuledOut {
                what: "lost-queries",
                of: 412,
                text: "0 of 412 queries lost".into(),
            }],
            not_ruled_out: Vec::new(),
            not_kept: BTreeMap::new(),
            completeness: Completeness::default(),
        }
    }

    #[test]
    fn the_report_says_what_who_when_why_and_what_to_do() {
        assert_eq!(
            render(&diagnosis(), &Terminal::PLAIN),
            "\
DIAGNOSIS: 1 fault and 0 notes in 30.0 s; 412 queries, 412 answered, 0 lost

FAULT  upstream-servfail (10.0.0.2:53)
  what      The upstream failed.
  pods      shop/cart-0 (37)
  when      frequent: 37 times beside 400 queries of these pods, 1970-01-01T00:00:03.000000Z to
            1970-01-01T00:00:29.000000Z
  proof     a query\\u{1b}[2J
  of these  www.example.com. (37)
  to do     Tell its operator.

  ruled out 0 of 412 queries lost
  seen      everything attached, 0 events lost
"
        );
    }

    #[test]
    fn silence_is_told_as_such() {
        let quiet = Diagnosis {
            queries: 0,
            findings: Vec::new(),
            ruled_out: Vec::new(),
            fault: false,
            ..diagnosis()
        };
        let text = render(&quiet, &Terminal::PLAIN);
        assert!(text.starts_with("DIAGNOSIS: no DNS query was seen in 30.0 s"), "{text}");
    }
}
