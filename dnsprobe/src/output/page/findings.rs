//! What `diagnose` says, as articles.

use maud::{Markup, html};

use super::{super::text::clean, moment};
use crate::{findings::Finding, report::Report};

/// Pods, items and proofs named.
const NAMED: usize = 10;

pub(super) fn section(report: &Report) -> Markup {
    html! {
        @for finding in &report.diagnosis.findings { (article(finding)) }
        @if report.diagnosis.findings.is_empty() { p { "Nothing was found." } }
    }
}

fn article(finding: &Finding) -> Markup {
    html! {
        article.finding.fault[finding.fault] {
            h3 {
                span.kind { (if finding.fault { "Fault" } else { "Note" }) }
                " " (finding.code)
                @if let Some(subject) = &finding.subject { " " small { "of " (clean(subject)) } }
            }
            p { (finding.summary) }
            dl {
                div { dt { "whose" } dd {
                    @let pods = finding.pods.iter().map(|pod| format!("{} ({} of {})", pod.owner, pod.count, pod.queries));
                    (some(pods, finding.pods.len()))
                } }
                div { dt { "how often" } dd {
                    (finding.count) " times, of " (finding.queries) " queries of these pods; pattern: " (finding.pattern)
                } }
                div { dt { "when" } dd { (moment(finding.first)) " to " (moment(finding.last)) } }
                @if !finding.items.is_empty() {
                    div { dt { "of these" } dd {
                        @let items = finding.items.iter().map(|item| format!("{} ({})", item.what, item.count));
                        (some(items, finding.items.len()))
                    } }
                }
                @if !finding.proof.is_empty() {
                    div { dt { "proof" } dd {
                        ul { @for proof in finding.proof.iter().take(NAMED) { li { (clean(proof)) } } }
                    } }
                }
                div { dt { "to do" } dd { (finding.advice) } }
            }
        }
    }
}

/// The first few, and how many more there are.
fn some(all: impl Iterator<Item = String>, count: usize) -> String {
    let named: Vec<String> = all.take(NAMED).map(|name| clean(&name).into_owned()).collect();
    let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
    named.join(", ") + &more
}
