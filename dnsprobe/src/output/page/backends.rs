//! Which backend took how much of what each server was asked.

use maud::{Markup, html};

use super::{
    super::text::millis,
    scrolling,
    strips::{HEIGHT, WIDTH, number},
};
use crate::report::{Backend, Report};

/// A row per server and backend, the largest share first.
pub(super) fn section(report: &Report) -> Markup {
    let table = html! {
        table {
            caption.hidden { "Queries by backend" }
            thead {
                tr {
                    th scope="col" { "asked" }
                    th scope="col" { "backend" }
                    th.n scope="col" { "answered" }
                    th.n scope="col" { "lost" }
                    th.n scope="col" { "mean, ms" }
                    th.n scope="col" { "share" }
                    th.range scope="col" { "share" }
                }
            }
            tbody { @for row in &report.backends { (self::row(row)) } }
        }
    };
    html! {
        @if report.backends.is_empty() {
            p {
                @if report.origin.transactions {
                    "No query was answered or lost."
                } @else {
                    "Not known: answered queries were not seen one by one, only their counts."
                }
            }
        } @else {
            p.caption {
                "Queries that were answered or lost, by the address that was asked and the one they "
                "were translated to on this node. The bar is the backend's share of the server's queries."
            }
            (scrolling("Queries by backend", &table))
        }
    }
}

fn row(row: &Backend) -> Markup {
    let percent = format!("{:.1} %", row.share * 100.0);
    html! {
        tr {
            th scope="row" { (row.server) }
            td {
                @match row.backend {
                    Some(backend) if backend == row.server => "itself",
                    Some(backend) => (backend),
                    None => "not seen on its way",
                }
            }
            td.n { (row.answered) }
            td.n.bad[row.lost > 0] { (row.lost) }
            td.n { (row.mean_latency_seconds.map_or_else(|| "-".to_owned(), millis)) }
            td.n { (percent) }
            td.range {
                svg.range viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none"
                    role="img" aria-label=(percent) {
                    rect.rest x="0" y="30" width=(WIDTH) height="40" {}
                    rect.bar x="0" y="30" width=(number(row.share * WIDTH)) height="40" {}
                }
            }
        }
    }
}
