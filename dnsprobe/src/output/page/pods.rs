//! Percentiles of each client, as numbers and on a scale they share.

use maud::{Markup, html};

use super::{
    super::text::{clean, millis},
    scrolling,
    strips::{HEIGHT, WIDTH, number},
};
use crate::{
    report::{PodLatency, Report},
    stats::LatencySummary,
};

/// Clients in the table.
const ROWS: usize = 200;

/// A logarithmic scale between two powers of ten, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale {
    from: i32,
    to: i32,
}

impl Scale {
    /// One that has room for all of them; `None` without any.
    fn of(pods: &[PodLatency]) -> Option<Self> {
        let all = || pods.iter().filter_map(|pod| pod.latency_seconds);
        let least = all().map(|latency| latency.p50).reduce(f64::min)?;
        let most = all().map(|latency| latency.p99).reduce(f64::max)?;
        // A microsecond stands for what is less.
        let from = least.max(1e-6).log10().floor() as i32;
        let to = most.max(1e-6).log10().ceil() as i32;
        Some(Self { from, to: to.max(from + 1) })
    }

    fn place(self, seconds: f64) -> f64 {
        let part =
            (seconds.max(1e-6).log10() - f64::from(self.from)) / f64::from(self.to - self.from);
        part.clamp(0.0, 1.0) * WIDTH
    }

    fn name(exponent: i32) -> String {
        match exponent {
            0.. => format!("{} s", 10_f64.powi(exponent)),
            -3..=-1 => format!("{} ms", 10_f64.powi(exponent + 3)),
            _ => format!("{} µs", 10_f64.powi(exponent + 6)),
        }
    }
}

/// The table; a bar in each row goes from the median to the 99th percentile.
pub(super) fn section(report: &Report) -> Markup {
    let pods: Vec<&PodLatency> = report.pods.iter().take(ROWS).collect();
    let more = report.pods.len() - pods.len();
    let scale = Scale::of(&report.pods);
    let table = html! {
        table {
            caption.hidden { "Latency by pod" }
            thead {
                tr {
                    th scope="col" { "client" }
                    th.n scope="col" { "queries" }
                    th.n scope="col" { "lost" }
                    @for name in ["p50", "p95", "p99", "max"] { th.n scope="col" { (name) } }
                    th.range scope="col" { "p50 to p99" }
                }
            }
            tbody { @for pod in pods { (row(pod, scale)) } }
        }
    };
    html! {
        @if report.pods.is_empty() {
            p { "No client sent a query." }
        } @else {
            p.caption {
                "Latency in milliseconds, from sending a query to reading its answer."
                @if let Some(scale) = scale {
                    " The bar goes from p50 to p99, with a mark at p95, on a logarithmic scale from "
                    (Scale::name(scale.from)) " to " (Scale::name(scale.to)) "; lines are at powers of ten."
                }
            }
            (scrolling("Latency by pod", &table))
            @if more > 0 { p { (more) " more clients, with fewer queries each, are in the JSON form." } }
        }
    }
}

fn row(pod: &PodLatency, scale: Option<Scale>) -> Markup {
    html! {
        tr {
            th scope="row" { (clean(&pod.owner.to_string())) }
            td.n { (pod.queries) }
            td.n.bad[pod.lost_total > 0] { (pod.lost_total) }
            @match pod.latency_seconds.zip(scale) {
                Some((latency, scale)) => {
                    @for seconds in [latency.p50, latency.p95, latency.p99, latency.max] {
                        td.n { (millis(seconds)) }
                    }
                    td.range { (range(latency, scale)) }
                }
                None => {
                    @for _ in 0..4 { td.n { "-" } }
                    td.range { "no answer" }
                }
            }
        }
    }
}

fn range(latency: LatencySummary, scale: Scale) -> Markup {
    const TICK: f64 = 8.0;
    let [p50, p95, p99] = [latency.p50, latency.p95, latency.p99].map(|at| scale.place(at));
    let text = format!(
        "from {} to {} milliseconds, 95 % within {}",
        millis(latency.p50),
        millis(latency.p99),
        millis(latency.p95)
    );
    html! {
        svg.range viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img"
            aria-label=(text) {
            @for exponent in scale.from..=scale.to {
                rect.grid x=(number(scale.place(10_f64.powi(exponent)).min(WIDTH - 2.0))) y="0"
                    width="2" height=(HEIGHT) {}
            }
            rect.bar x=(number(p50)) y="30" width=(number((p99 - p50).max(TICK))) height="40" {}
            rect.tick x=(number((p95 - TICK / 2.0).max(0.0))) y="10" width=(TICK) height="80" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::cart;

    fn pod(p50: f64, p99: f64) -> PodLatency {
        let latency = LatencySummary { count: 10, p50, p95: p99, p99, max: p99, mean: p50 };
        let latency_seconds = Some(latency);
        PodLatency { owner: cart(), queries: 10, answered: 10, lost_total: 0, latency_seconds }
    }

    #[test]
    fn the_scale_has_room_for_all_and_its_ends_have_names() {
        let scale = Scale::of(&[pod(0.000_4, 0.02), pod(0.003, 4.9)]).unwrap();
        assert_eq!(scale, Scale { from: -4, to: 1 });
        assert_eq!((Scale::name(-4), Scale::name(1)), ("100 µs".to_owned(), "10 s".to_owned()));
        assert_eq!((scale.place(1e-4), scale.place(10.0)), (0.0, WIDTH));
        assert!((scale.place(0.01) - 400.0).abs() < 1e-6);
        assert_eq!(Scale::of(&[pod(0.0, 0.0)]), Some(Scale { from: -6, to: -5 }));
        assert_eq!(Scale::of(&[PodLatency { latency_seconds: None, ..pod(1.0, 1.0) }]), None);
    }

    #[test]
    fn a_bar_lies_where_its_percentiles_are() {
        let scale = Scale { from: -3, to: 0 };
        let latency = pod(0.001, 1.0).latency_seconds.unwrap();
        let svg = range(latency, scale).into_string();
        assert!(
            svg.contains(r#"<rect class="bar" x="0" y="30" width="1000" height="40">"#),
            "{svg}"
        );
        assert!(svg.contains(r#"aria-label="from 1.000 to 1000 milliseconds"#), "{svg}");
    }
}
