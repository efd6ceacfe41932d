//! Rows of bars or cells over one axis of time. Each row is a picture of its own
//! that stretches to the width there is; labels and axis are text.

use maud::{Markup, html};

use super::time_of_day;
use crate::report::{Report, Slice};

/// Units across a picture, and from its top to its bottom.
pub(super) const WIDTH: f64 = 1_000.0;
pub(super) const HEIGHT: f64 = 100.0;
/// A bar is never lower than this, so that one query of many is seen.
const LOWEST: f64 = 12.0;

/// One row.
pub(super) struct Strip {
    /// In front of it.
    pub(super) label: Markup,
    /// What it shows, for those who do not see it.
    pub(super) text: String,
    /// How it looks: `load`, `loss`, `near` or `heat`.
    pub(super) class: &'static str,
    pub(super) picture: Markup,
}

/// The rows above their axis.
pub(super) fn strips(report: &Report, class: &str, rows: &[Strip]) -> Markup {
    let middle = report.start.unix_ns().midpoint(report.end.unix_ns());
    let middle = crate::time::Timestamp::from_unix_ns(middle);
    html! {
        div.strips.(class) {
            @for row in rows {
                div.label { (row.label) }
                svg.strip.(row.class) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none"
                    role="img" aria-label=(row.text) { (row.picture) }
            }
            div.label {}
            div.axis aria-hidden="true" {
                @for at in [report.start, middle, report.end] { span { (time_of_day(at)) } }
            }
        }
    }
}

/// Where a slice begins, and how wide it is.
fn place(report: &Report, slice: &Slice) -> (f64, f64) {
    let start = report.start.unix_ns();
    let all = report.end.unix_ns().saturating_sub(start).max(1) as f64;
    let x = |at: u64| (at.saturating_sub(start) as f64 / all * WIDTH).min(WIDTH);
    let left = x(slice.start.unix_ns());
    (left, x(slice.end.unix_ns()) - left)
}

/// A bar per slice that has any; heights are parts of the largest.
pub(super) fn bars(report: &Report, value: impl Fn(&Slice) -> f64) -> Markup {
    let most = report.slices.iter().map(&value).fold(0.0, f64::max);
    html! {
        @for slice in report.slices.iter().filter(|slice| value(slice) > 0.0) {
            @let (x, width) = place(report, slice);
            @let height = (value(slice) / most * HEIGHT).max(LOWEST);
            rect x=(number(x)) y=(number(HEIGHT - height)) width=(number(width))
                height=(number(height)) {}
        }
    }
}

/// A cell per slice whose shade is above 0.
pub(super) fn cells(report: &Report, shade: impl Fn(&Slice) -> usize) -> Markup {
    html! {
        @for slice in report.slices.iter().filter(|slice| shade(slice) > 0) {
            @let (x, width) = place(report, slice);
            rect class={ "s" (shade(slice)) } x=(number(x)) y="0" width=(number(width))
                height=(HEIGHT) {}
        }
    }
}

/// Two digits are enough for a picture.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
