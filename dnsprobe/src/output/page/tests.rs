//! The page of a report made by hand.

use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::{
    engine::Cause,
    identity::Owner,
    report::{Slice, tests::report},
    stats::BANDS,
};

fn made() -> Report {
    report(None, |_| true).unwrap()
}

fn slice(second: u64, queries: u64, lost: u64) -> Slice {
    let at = |second: u64| Timestamp::from_unix_ns(second * 1_000_000_000);
    let mut latency = [0; BANDS];
    latency[2] = queries - lost;
    let by_cause = BTreeMap::from([(Cause::PolicyDrop, lost)]);
    Slice {
        start: at(second),
        end: at(second + 1),
        queries,
        latency,
        lost: if lost > 0 { by_cause } else { BTreeMap::new() },
        near_misses: BTreeMap::new(),
    }
}

/// Four seconds; two losses in the third.
fn four_seconds() -> Report {
    let slices = vec![slice(0, 10, 0), slice(1, 20, 0), slice(2, 5, 2), slice(3, 0, 0)];
    Report { start: slices[0].start, end: slices[3].end, slices, ..made() }
}

#[test]
fn the_page_has_every_section_and_needs_nothing_else() {
    let html = render(&made());
    for (anchor, title) in SECTIONS {
        assert!(html.contains(&format!("<section id=\"{anchor}\"")), "{anchor}");
        assert!(html.contains(&format!(">{title}</h2>")), "{title}");
    }
    for foreign in ["<script", "src=", "http://", "https://", "@import", "url(", "onload"] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    assert!(html.contains("<html lang=\"en\">") && html.contains("name=\"viewport\""));
    assert!(html.contains("1 fault: 1 of 10 queries lost."), "{html}");
}

#[test]
fn every_picture_says_what_it_shows_or_stands_beside_words_that_do() {
    let html = render(&four_seconds());
    let pictures: Vec<&str> = html.split("<svg").skip(1).collect();
    assert!(pictures.len() > 10);
    for picture in pictures {
        let tag = picture.split('>').next().unwrap();
        let told = tag.contains("role=\"img\"") && tag.contains("aria-label=\"");
        assert!(told || tag.contains("aria-hidden=\"true\""), "{tag}");
    }
    assert_eq!(html.matches("<table").count(), html.matches("<caption").count());
    assert_eq!(
        html.matches("<figure aria-labelledby=").count(),
        html.matches("<figcaption").count()
    );
}

#[test]
fn nothing_from_the_network_becomes_mark_up() {
    let evil = "<script>alert(1)</script>\"'&\u{202e}\u{1b}[2J";
    let mut report = made();
    report.origin.node = evil.to_owned();
    report.origin.recording_damage = Some(evil.to_owned());
    report.pods[0].owner = Arc::new(Owner::Host { name: evil.to_owned() });
    report.diagnosis.findings[0].subject = Some(evil.to_owned());
    report.diagnosis.findings[0].proof = vec![evil.to_owned()];
    let shown = report.shown.as_mut().unwrap();
    shown.summary = evil.to_owned();
    shown.query.command = Some(evil.to_owned());
    shown.evidence[0].fact = evil.to_owned();
    shown.missing = vec![evil.to_owned()];
    let html = render(&report);
    assert!(!html.contains("<script") && !html.contains('\u{202e}') && !html.contains('\u{1b}'));
    assert_eq!(html.matches("&lt;script&gt;").count(), 10, "{html}");
}

#[test]
fn load_and_losses_lie_where_they_were() {
    let html = load::section(&four_seconds()).into_string();
    assert!(html.contains(r#"aria-label="load: at most 20.0 queries a second, in the slice that ends at 00:00:02""#), "{html}");
    assert!(html.contains(
        r#"aria-label="policy-drop: 2 lost, at most 2 in one slice, which ends at 00:00:03""#
    ));
    // The third of four slices, as high as it gets; half the load before it.
    assert!(html.contains(r#"<rect x="500" y="0" width="250" height="100">"#));
    assert!(html.contains(r#"<rect x="0" y="50" width="250" height="50">"#));
    assert!(html.contains("2 queries were lost to one cause, sent between 00:00:02 and 00:00:03."));
    assert_eq!(html.matches("<tr").count(), 5);
}

#[test]
fn a_cell_of_the_heat_map_is_there_where_answers_were() {
    let html = heat_map::section(&four_seconds()).into_string();
    let row = html.split("<svg").find(|svg| svg.contains("&lt; 10 ms: 33 answers")).unwrap();
    assert_eq!(row.matches(r#"<rect class="s4""#).count(), 3, "{row}");
    assert!(html.contains("&gt;= 5 s: no answer"));
    let silent = Report { slices: vec![slice(0, 0, 0)], ..made() };
    assert!(heat_map::section(&silent).into_string().contains("No answer was seen."));
}

#[test]
fn shares_are_bars_of_their_length() {
    let mut report = made();
    report.backends[0].share = 0.25;
    let html = backends::section(&report).into_string();
    assert!(
        html.contains(r#"aria-label="25.0 %""#) && html.contains(r#"x="0" y="30" width="250""#)
    );
    report.backends.clear();
    report.origin.transactions = false;
    assert!(backends::section(&report).into_string().contains("only their counts"));
}

#[test]
fn silence_is_told_as_such() {
    let mut report = report(None, |_| false).unwrap();
    report.slices.clear();
    report.diagnosis.queries = 0;
    let html = render(&report);
    for said in [
        "No DNS query was seen, so nothing can be said.",
        "Nothing was found.",
        "No counters were read",
        "No answer was seen.",
        "No client sent a query.",
        "No query was answered or lost.",
        "No query was lost.",
    ] {
        assert!(html.contains(said), "{said}");
    }
}
