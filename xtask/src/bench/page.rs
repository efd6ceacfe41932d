//! The table as text for a terminal.

use std::fmt::Write as _;

use super::figures::Row;
use super::line::Watcher;
use super::report::{Kernel, Report};

/// Per kernel a line per row.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    for kernel in &report.kernels {
        heading(kernel, &mut text);
        for row in &kernel.rows {
            line(report, kernel, row, &mut text);
        }
    }
    text
}

fn heading(kernel: &Kernel, text: &mut String) {
    let roles = kernel
        .roles
        .map(|[attached, of]| format!(", dnsprobe with {attached} of {of} hook roles attached"))
        .unwrap_or_default();
    let _ = writeln!(text, "Linux {}{roles}; guest instructions", kernel.release);
    if let Some(why) = &kernel.failed {
        let _ = writeln!(text, "  no measurements: {why}");
    }
    let _ = writeln!(
        text,
        "{:38} {:>9} {:>9} {:>9} {:>7} {:>8} {:>9}",
        "ROW", "BASELINE", "ADDED", "IN KERNEL", "SPREAD", "BAR", ""
    );
}

fn line(report: &Report, kernel: &Kernel, row: &Row, text: &mut String) {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.0}"));
    let baseline = row.baseline.map(|cost| cost.per_unit);
    let added = row.watcher(Watcher::Dnsprobe);
    let judged = report.bar(&row.name, &kernel.series);
    let _ = writeln!(
        text,
        "{:38} {:>9} {:>9} {:>9} {:>7} {:>8} {:>9}",
        row.name,
        number(baseline),
        number(added.map(|added| added.added)),
        number(added.map(|added| added.added_in_kernel)),
        number(added.map(|added| added.spread)),
        number(judged.map(|judged| judged.at_most)),
        judged.map_or("", |judged| judged.verdict.as_str()),
    );
}
