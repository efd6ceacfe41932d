//! The lost query that is drawn, and a list of others.

use maud::{Markup, html};

use super::{
    super::text::{clean, process},
    count_of, moment, scrolling, sequence,
};
use crate::{
    engine::Verdict,
    report::{LostQuery, QueryId, Report},
};

pub(super) fn section(report: &Report) -> Markup {
    html! {
        @match &report.shown {
            Some(verdict) => (drawn(verdict)),
            None => p { "No query was lost." },
        }
        @if !report.lost_queries.is_empty() { (list(report)) }
    }
}

fn drawn(verdict: &Verdict) -> Markup {
    let query = &verdict.query;
    html! {
        h3 { (verdict.cause) " " small { "query " (QueryId::of(query)) } }
        p { (clean(&verdict.summary)) }
        dl {
            div { dt { "asked" } dd {
                @match &query.question {
                    Some(question) => (clean(&question.to_string())),
                    None => "not captured",
                }
            } }
            div { dt { "whose" } dd { (clean(&verdict.owner.to_string())) ", " (process(query)) } }
            div { dt { "from" } dd { (query.client) } }
            div { dt { "to" } dd { (query.server) } }
            div { dt { "sent" } dd { (moment(query.sent)) } }
        }
        (sequence::figure(verdict))
        (colliding(verdict))
        @if !verdict.missing.is_empty() {
            p { "Not attached, and might have known: " (clean(&verdict.missing.join(", "))) "." }
        }
    }
}

/// Both entries of a clash.
fn colliding(verdict: &Verdict) -> Markup {
    let rows = verdict.colliding();
    let table = html! {
        table {
            caption { "The two conntrack entries that collided" }
            thead { tr {
                th scope="col" { "direction" } th scope="col" { "first" } th scope="col" { "second" }
            } }
            tbody {
                @for [direction, first, second] in &rows {
                    tr {
                        th scope="row" { (direction) @if first == second { " " small { "the same" } } }
                        td { (clean(first)) }
                        td { (clean(second)) }
                    }
                }
            }
        }
    };
    html! { @if !rows.is_empty() { (scrolling("Colliding entries", &table)) } }
}

fn list(report: &Report) -> Markup {
    let table = html! {
        table {
            caption { "Lost queries; dnsprobe report --query ID draws another" }
            thead { tr {
                th scope="col" { "sent" }
                th scope="col" { "id" }
                th scope="col" { "whose" }
                th scope="col" { "question" }
                th scope="col" { "cause" }
                th.n scope="col" { "answered after, s" }
            } }
            tbody { @for row in &report.lost_queries { (self::row(row)) } }
        }
    };
    html! {
        details {
            summary { (count_of(report.lost_queries.len() as u64, "lost query", "lost queries")) " as a table" }
            (scrolling("Lost queries", &table))
            @if report.lost_queries_left_out > 0 {
                p { (report.lost_queries_left_out) " more are left out." }
            }
        }
    }
}

fn row(row: &LostQuery) -> Markup {
    html! {
        tr {
            td { (moment(row.sent)) }
            th scope="row" { (row.id) }
            td { (clean(&row.owner.to_string())) }
            td {
                @match &row.question {
                    Some(question) => (clean(&question.to_string())),
                    None => "not captured",
                }
            }
            td { (row.cause) }
            td.n {
                @match row.answered_after_seconds {
                    Some(seconds) => (format!("{seconds:.3}")),
                    None => "-",
                }
            }
        }
    }
}
