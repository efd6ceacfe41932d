//! A report as one HTML page that needs nothing else: no script, no other file,
//! no network. Figures are inline SVG that stretches; their labels are text of
//! the page, so that they can be read at any width. Each figure says in words
//! what it shows and has its numbers as a table.
//!
//! Everything passes through [`maud`], which escapes it, and through [`clean`],
//! which makes control characters visible.

mod backends;
mod findings;
mod heat_map;
mod load;
mod lost;
mod pods;
mod sequence;
mod strips;
#[cfg(test)]
mod tests;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::text::{clean, completeness};
use crate::{report::Report, time::Timestamp};

const STYLE: &str = include_str!("style.css");
/// Nothing is fetched or run, whatever a name may contain.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Sections, by anchor and title.
const SECTIONS: [(&str, &str); 7] = [
    ("findings", "What is wrong"),
    ("load", "Losses and load"),
    ("latency", "Latency over time"),
    ("pods", "Latency by pod"),
    ("backends", "Who answered"),
    ("lost", "A lost query"),
    ("unseen", "Ruled out and not seen"),
];

/// The whole document.
#[must_use]
pub fn render(report: &Report) -> String {
    let title = format!("DNS on {}", clean(&report.origin.node));
    let bodies = [
        findings::section(report),
        load::section(report),
        heat_map::section(report),
        pods::section(report),
        backends::section(report),
        lost::section(report),
        unseen(report),
    ];
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    (summary(report))
                    nav aria-label="Sections" {
                        ul { @for (anchor, title) in SECTIONS { li { a href={ "#" (anchor) } { (title) } } } }
                    }
                }
                main {
                    @for ((anchor, title), body) in SECTIONS.into_iter().zip(bodies) {
                        section id=(anchor) aria-labelledby={ "title-" (anchor) } {
                            h2 id={ "title-" (anchor) } { (title) }
                            (body)
                        }
                    }
                }
                footer {
                    p { "Made by dnsprobe " (env!("CARGO_PKG_VERSION")) ". Times are UTC." }
                }
            }
        }
    };
    page.into_string()
}

fn summary(report: &Report) -> Markup {
    let (diagnosis, origin) = (&report.diagnosis, &report.origin);
    let faults = diagnosis.findings.iter().filter(|finding| finding.fault).count();
    html! {
        p.verdict.bad[diagnosis.fault] {
            @if diagnosis.queries == 0 && diagnosis.findings.is_empty() {
                "No DNS query was seen, so nothing can be said."
            } @else if diagnosis.fault {
                (count(faults, "fault")) ": "
                (diagnosis.lost_total) " of " (count_of(diagnosis.queries, "query", "queries")) " lost."
            } @else {
                "No fault: " (diagnosis.lost_total) " of "
                (count_of(diagnosis.queries, "query", "queries")) " lost."
            }
        }
        dl {
            div { dt { "from" } dd { (moment(report.start)) } }
            div { dt { "to" } dd { (moment(report.end)) } }
            div { dt { "queries" } dd { (diagnosis.queries) } }
            div { dt { "answered" } dd { (diagnosis.answered) } }
            div { dt { "lost" } dd { (diagnosis.lost_total) } }
            div { dt { "lost after" } dd { (origin.lost_after_seconds) " s" } }
            div { dt { "kernel" } dd { (clean(&origin.kernel)) } }
            div { dt { "watched by" } dd { "dnsprobe " (clean(&origin.dnsprobe)) } }
        }
    }
}

fn unseen(report: &Report) -> Markup {
    let diagnosis = &report.diagnosis;
    html! {
        h3 { "Ruled out" }
        @if diagnosis.ruled_out.is_empty() {
            p { "Nothing." }
        } @else {
            ul { @for item in &diagnosis.ruled_out { li { (clean(&item.text)) } } }
        }
        h3 { "Not seen" }
        ul {
            li { (clean(&completeness(&diagnosis.completeness))) }
            @for missing in &diagnosis.completeness.missing {
                li { code { (clean(&missing.role)) } ": " (clean(&missing.reason)) }
            }
            @for item in &diagnosis.not_ruled_out {
                li { "not ruled out: " code { (item.what) } ", " (clean(&item.reason)) }
            }
            @for (what, count) in diagnosis.not_kept.iter().chain(&report.not_kept) {
                li { (count) " " (what) " were not kept, no room" }
            }
            @if diagnosis.in_flight > 0 {
                li { (count_of(diagnosis.in_flight, "query was", "queries were")) " not decided yet" }
            }
            @if !report.origin.transactions {
                li { "answered queries one by one; only their counts" }
            }
            @if let Some(damage) = &report.origin.recording_damage {
                li { "of the recording: " (clean(damage)) }
            }
        }
    }
}

/// A moment in full, for people and machines.
fn moment(at: Timestamp) -> Markup {
    let text = at.to_string();
    html! { time datetime=(text) { (text) } }
}

/// A moment's time of day, to the second.
fn time_of_day(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..19).unwrap_or(&text).to_owned()
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn count_of(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A wide table that scrolls by itself, also with the keyboard.
fn scrolling(label: &str, table: &Markup) -> Markup {
    html! { div.scroll role="region" tabindex="0" aria-label=(label) { (table) } }
}
