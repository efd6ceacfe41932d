//! How long answers took, slice by slice.

use maud::{Markup, html};

use super::{
    count_of, scrolling,
    strips::{Strip, cells, strips},
    time_of_day,
};
use crate::{
    report::{Report, Slice},
    stats::{BAND_NAMES, BANDS, shade},
};

/// What the shades of [`shade`] mean.
const SHADES: [&str; 5] = ["none", "under 10 %", "under 50 %", "under 90 %", "90 % or more"];

/// A row per latency band, longest on top.
pub(super) fn section(report: &Report) -> Markup {
    let sums = sums(report);
    let answers: u64 = sums.iter().sum();
    let row = |band: usize| Strip {
        label: html! { (BAND_NAMES[band]) },
        text: in_words(report, band, sums[band]),
        class: "heat",
        picture: cells(report, |slice| shade(&slice.latency, band)),
    };
    let rows: Vec<Strip> = (0..BANDS).rev().map(row).collect();
    html! {
        figure aria-labelledby="latency-caption" {
            figcaption id="latency-caption" {
                "From sending a query to reading its answer. The stronger the colour of a cell, the more of the "
                "answers of its slice took that long."
            }
            @if answers == 0 {
                p { "No answer was seen." }
            } @else {
                (strips(report, "narrow", &rows))
                ul.legend aria-label="Shades" {
                    @for (number, name) in SHADES.iter().enumerate() {
                        li { svg viewBox="0 0 10 10" aria-hidden="true" {
                            rect class={ "s" (number) } width="10" height="10" {}
                        } (name) }
                    }
                }
                p {
                    (count_of(answers, "answer", "answers")) ": "
                    @for (n, (name, sum)) in BAND_NAMES.iter().zip(sums).filter(|(_, sum)| *sum > 0).enumerate() {
                        @if n > 0 { ", " }
                        (sum) " " (name)
                    }
                    "."
                }
                (table(report))
            }
        }
    }
}

fn sums(report: &Report) -> [u64; BANDS] {
    let mut sums = [0; BANDS];
    for slice in &report.slices {
        for (sum, more) in sums.iter_mut().zip(slice.latency) {
            *sum += more;
        }
    }
    sums
}

fn in_words(report: &Report, band: usize, sum: u64) -> String {
    let name = BAND_NAMES[band];
    let of = |slice: &&Slice| slice.latency[band];
    match report.slices.iter().max_by_key(of) {
        Some(most) if sum > 0 => format!(
            "{name}: {}, most of them ({}) in the slice that ends at {}",
            count_of(sum, "answer", "answers"),
            of(&most),
            time_of_day(most.end)
        ),
        _ => format!("{name}: no answer"),
    }
}

fn table(report: &Report) -> Markup {
    let table = html! {
        table {
            caption { "Answers by slice and latency" }
            thead {
                tr {
                    th scope="col" { "from" }
                    @for name in BAND_NAMES { th.n scope="col" { (name) } }
                }
            }
            tbody {
                @for slice in &report.slices {
                    tr {
                        th scope="row" { (time_of_day(slice.start)) }
                        @for count in slice.latency { td.n { (count) } }
                    }
                }
            }
        }
    };
    html! {
        details {
            summary { "Latency over time as a table" }
            (scrolling("Answers by slice and latency", &table))
        }
    }
}
