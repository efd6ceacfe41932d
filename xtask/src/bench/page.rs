//! The tables as text for a terminal.

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
        peers(kernel, &mut text);
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

/// What others add to the same traffic.
fn peers(kernel: &Kernel, text: &mut String) {
    let compared = |row: &&Row| Watcher::PEERS.iter().any(|peer| row.watcher(*peer).is_some());
    let mut rows = kernel.rows.iter().filter(compared).peekable();
    if rows.peek().is_none() {
        return;
    }
    let _ = write!(text, "\n{:38}", "ADDED BY");
    for watcher in COMPARED {
        let _ = write!(text, " {:>9}", watcher.as_str().to_uppercase());
    }
    text.push('\n');
    for row in rows {
        let _ = write!(text, "{:38}", row.name);
        for watcher in COMPARED {
            let _ = write!(text, " {:>9}", number(row.watcher(watcher).map(|one| one.added)));
        }
        text.push('\n');
    }
    for note in &kernel.notes {
        let _ = writeln!(text, "note: {note}");
    }
}

const COMPARED: [Watcher; 4] =
    [Watcher::Floor, Watcher::Dnsprobe, Watcher::Bpftrace, Watcher::Tcpdump];

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"))
}
