//! The tables as text for a terminal.

use std::fmt::Write as _;

use super::bars::What;
use super::figures::{Added, Row};
use super::line::Watcher;
use super::report::{Kernel, NATIVE, Report};

/// Per kernel a line per row.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    for kernel in &report.kernels {
        heading(kernel, &mut text);
        for row in &kernel.rows {
            line(report, kernel, row, &mut text);
        }
        peers(kernel, &mut text);
        start_up(report, kernel, &mut text);
        user_space(report, kernel, &mut text);
        programs(kernel, &mut text);
    }
    text
}

fn heading(kernel: &Kernel, text: &mut String) {
    let roles = kernel
        .roles
        .map(|[attached, of]| format!(", dnsprobe with {attached} of {of} hook roles attached"))
        .unwrap_or_default();
    let clock = if kernel.series == NATIVE { "this machine's clock" } else { "guest instructions" };
    let _ = writeln!(text, "Linux {}{roles}; {clock}", kernel.release);
    if let Some(why) = &kernel.failed {
        let _ = writeln!(text, "  no measurements: {why}");
    }
    if kernel.rows.is_empty() {
        return;
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
    let mut rows = kernel.rows.iter().filter(|row| row.has_peers()).peekable();
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
            let _ = write!(text, " {:>9}", number(row.watcher(watcher).map(Added::compared)));
        }
        text.push('\n');
    }
    for note in &kernel.notes {
        let _ = writeln!(text, "note: {note}");
    }
}

fn start_up(report: &Report, kernel: &Kernel, text: &mut String) {
    let Some(start) = &kernel.start_up else { return };
    let _ = writeln!(
        text,
        "\n{:38} {:>9} {:>36} {:>9}",
        format!("MEDIAN OF {} STARTS, {} PROGRAMS", start.starts, start.programs),
        "MS",
        "BAR",
        ""
    );
    for (what, figure) in [
        (What::AttachedMilliseconds, start.attached_ms),
        (What::DetachedMilliseconds, start.ended_ms),
    ] {
        let judged = report.bar(what.as_str(), &kernel.series);
        let _ = writeln!(
            text,
            "{:38} {:>9.0} {:>36} {:>9}",
            what.as_str(),
            figure,
            number(judged.map(|judged| judged.at_most)),
            judged.map_or("", |judged| judged.verdict.as_str()),
        );
    }
}

fn user_space(report: &Report, kernel: &Kernel, text: &mut String) {
    if kernel.user_space.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n{:>5} {:>11} {:>9} {:>9} {:>9} {:>12} {:>14}",
        "PODS", "WAKE-UPS/S", "AT 10 K/S", "MS/S", "AT 10 K/S", "RESIDENT MIB", "ALLOCATIONS/S"
    );
    for one in &kernel.user_space {
        let _ = writeln!(
            text,
            "{:>5} {:>11.1} {:>9.1} {:>9.1} {:>9.1} {:>12.1} {:>14.0}",
            one.pods,
            one.idle_wake_ups_per_second,
            one.wake_ups_per_second,
            one.idle_ms(),
            one.loaded_ms(),
            one.resident_mib(),
            one.allocations_per_second
        );
    }
    for what in [What::WakeUps, What::ResidentMib, What::ReadMilliseconds] {
        if let Some(judged) = report.bar(what.as_str(), &kernel.series) {
            let (figure, at_most) = (number(judged.figure), number(Some(judged.at_most)));
            let verdict = judged.verdict.as_str();
            let _ = writeln!(text, "{:38} {figure:>9} {at_most:>36} {verdict:>9}", what.as_str());
        }
    }
}

fn programs(kernel: &Kernel, text: &mut String) {
    if kernel.programs.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n{:16} {:>8} {:>8} {:>12} {:>9} {:>12}",
        "PROGRAM", "RUNS", "PER RUN", "INSTRUCTIONS", "VERIFIED", "STACK BYTES"
    );
    for program in &kernel.programs {
        let frames: Vec<String> = program.stack_bytes.iter().map(u64::to_string).collect();
        let _ = writeln!(
            text,
            "{:16} {:>8} {:>8} {:>12} {:>9} {:>12}",
            program.name,
            program.runs,
            number(program.per_run),
            program.instructions,
            number(program.verified.map(f64::from)),
            frames.join("+"),
        );
    }
}

const COMPARED: [Watcher; 4] =
    [Watcher::Floor, Watcher::Dnsprobe, Watcher::Bpftrace, Watcher::Tcpdump];

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"))
}
