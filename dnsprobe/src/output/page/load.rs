//! Losses by cause below the load, slice by slice.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{
    count_of, scrolling,
    strips::{Strip, bars, strips},
    time_of_day,
};
use crate::{
    engine::Cause,
    report::{Report, Slice},
};

/// The load's row, then a row per cause, those with most queries first.
pub(super) fn section(report: &Report) -> Markup {
    let causes = causes(report);
    let mut rows = vec![load(report)];
    rows.extend(causes.iter().map(|(cause, count)| strip(report, *cause, *count)));
    html! {
        figure aria-labelledby="load-caption" {
            figcaption id="load-caption" {
                "Queries a second that clients sent, and below, when the queries were sent that "
                "were lost or nearly lost, by cause. Each row has a scale of its own, from 0 to "
                "its largest slice; any loss is drawn at least an eighth high."
            }
            @if report.slices.is_empty() {
                p { "No counters were read, so there is no load to show." }
            } @else {
                (strips(report, "wide", &rows))
                p { (words(report, &causes)) }
                (table(report, &causes))
            }
        }
    }
}

/// Every cause that occurs and how often, losses first.
fn causes(report: &Report) -> Vec<(Cause, u64)> {
    let mut sums: BTreeMap<Cause, u64> = BTreeMap::new();
    for slice in &report.slices {
        for (cause, count) in slice.lost.iter().chain(&slice.near_misses) {
            *sums.entry(*cause).or_default() += count;
        }
    }
    let mut sums: Vec<(Cause, u64)> = sums.into_iter().collect();
    sums.sort_by_key(|(cause, count)| std::cmp::Reverse((cause.is_loss(), *count)));
    sums
}

fn of(slice: &Slice, cause: Cause) -> u64 {
    let by_cause = if cause.is_loss() { &slice.lost } else { &slice.near_misses };
    by_cause.get(&cause).copied().unwrap_or(0)
}

fn peak(report: &Report, value: impl Fn(&Slice) -> f64) -> Option<&Slice> {
    report.slices.iter().max_by(|one, other| value(one).total_cmp(&value(other)))
}

fn load(report: &Report) -> Strip {
    let most = peak(report, Slice::queries_per_second);
    let text = most.map_or_else(String::new, |slice| {
        format!(
            "load: at most {:.1} queries a second, in the slice that ends at {}",
            slice.queries_per_second(),
            time_of_day(slice.end)
        )
    });
    Strip {
        label: html! {
            "load" @if let Some(slice) = most {
                " " small { "up to " (format!("{:.1}", slice.queries_per_second())) "/s" }
            }
        },
        text,
        class: "load",
        picture: bars(report, Slice::queries_per_second),
    }
}

fn strip(report: &Report, cause: Cause, count: u64) -> Strip {
    let (class, what) = if cause.is_loss() {
        ("loss", format!("{count} lost"))
    } else {
        ("near", count_of(count, "near miss", "near misses"))
    };
    let most = peak(report, |slice| of(slice, cause) as f64);
    let text = most.map_or_else(String::new, |slice| {
        format!(
            "{cause}: {what}, at most {} in one slice, which ends at {}",
            of(slice, cause),
            time_of_day(slice.end)
        )
    });
    Strip {
        label: html! { (cause) " " small { (what) } },
        text,
        class,
        picture: bars(report, |slice| of(slice, cause) as f64),
    }
}

/// The figure in a sentence or two.
fn words(report: &Report, causes: &[(Cause, u64)]) -> String {
    let load = peak(report, Slice::queries_per_second).map_or_else(String::new, |slice| {
        format!(
            "The load was highest, {:.1} queries a second, until {}.",
            slice.queries_per_second(),
            time_of_day(slice.end)
        )
    });
    let losses = |slice: &Slice| slice.lost.values().sum::<u64>();
    let hit = || report.slices.iter().filter(|slice| losses(slice) > 0);
    let lost = match (hit().next(), hit().next_back()) {
        (Some(first), Some(last)) => {
            let kinds = causes.iter().filter(|(cause, _)| cause.is_loss()).count();
            let sum: u64 = hit().map(losses).sum();
            let by = if kinds == 1 { "one cause".to_owned() } else { format!("{kinds} causes") };
            format!(
                " {} lost to {by}, sent between {} and {}.",
                count_of(sum, "query was", "queries were"),
                time_of_day(first.start),
                time_of_day(last.end)
            )
        }
        _ => " No query was lost.".to_owned(),
    };
    load + &lost
}

fn table(report: &Report, causes: &[(Cause, u64)]) -> Markup {
    let table = html! {
        table {
            caption { "Load and losses by slice" }
            thead {
                tr {
                    th scope="col" { "from" }
                    th.n scope="col" { "seconds" }
                    th.n scope="col" { "queries/s" }
                    @for (cause, _) in causes { th.n scope="col" { (cause) } }
                }
            }
            tbody {
                @for slice in &report.slices {
                    tr {
                        th scope="row" { (time_of_day(slice.start)) }
                        td.n { (format!("{:.1}", slice.seconds())) }
                        td.n { (format!("{:.1}", slice.queries_per_second())) }
                        @for (cause, _) in causes { td.n { (of(slice, *cause)) } }
                    }
                }
            }
        }
    };
    html! {
        details {
            summary { "Load and losses as a table" }
            (scrolling("Load and losses by slice", &table))
        }
    }
}
