//! The table of `top`: every owner's window and totals, the latest verdicts,
//! and what could not be seen. On a terminal each frame replaces the last.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::{Display, Write as _},
};

use super::{
    Terminal,
    terminal::Colour,
    text::{clean, completeness, label, millis, question, wrap},
};
use crate::{
    dns::rcode_name,
    engine::Verdict,
    stats::{Counts, LatencySummary, PodCounts, Snapshot},
};

/// Verdicts kept to be shown under the table.
const RECENT: usize = 5;
/// Verdicts shown on a terminal too low for all.
const RECENT_LOW: usize = 2;
/// Lines below which a terminal counts as low.
const LOW: usize = 30;
/// Servers shown per owner.
const SERVERS: usize = 4;
/// Columns of the owner when it stands above its numbers.
const STACKED_WIDTH: usize = 5;
/// Columns behind the owner: title and width with the blank in front. The
/// widths hold any latency in range and a million of everything, and fit 80
/// columns when the owner stands above.
const COLUMNS: [(&str, usize); 10] = [
    ("SPAN", 7),
    ("Q/s", 7),
    ("QUERIES", 8),
    ("ANSWERED", 9),
    ("IN FLIGHT", 10),
    ("LOST", 6),
    ("P50 ms", 7),
    ("P95 ms", 7),
    ("P99 ms", 7),
    ("MAX ms", 7),
];

/// What `top` shows between frames.
#[derive(Debug)]
pub struct Top {
    node: String,
    ports: Vec<u16>,
    recent: VecDeque<Verdict>,
    drawn: bool,
}

impl Top {
    /// A view without verdicts yet. `node` is the node's name, `ports` the
    /// ports watched; both are shown.
    #[must_use]
    pub fn new(node: &str, ports: Vec<u16>) -> Self {
        Self { node: clean(node).into_owned(), ports, recent: VecDeque::new(), drawn: false }
    }

    /// Remembers a verdict for the frames to come; old ones make room.
    pub fn verdict(&mut self, verdict: &Verdict) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(verdict.clone());
    }

    /// One frame. On a terminal it draws over the one before and fits its
    /// height; elsewhere it is appended and complete.
    #[must_use]
    pub fn frame(&mut self, snapshot: &Snapshot, terminal: &Terminal) -> String {
        let low = terminal.height < LOW;
        let footer = self.footer(snapshot, terminal, if low { RECENT_LOW } else { RECENT });
        let mut body = self.body(snapshot, terminal);
        if terminal.live {
            let room = terminal.height.saturating_sub(footer.len() + 1);
            if body.len() > room {
                body.truncate(room.saturating_sub(1));
                body.push("... more on a higher terminal, or with -o json".to_owned());
            }
        }
        body.extend(footer);
        self.drawn_over(&body, terminal)
    }

    /// The last frame: complete whatever the height of the terminal.
    #[must_use]
    pub fn last_frame(&mut self, snapshot: &Snapshot, terminal: &Terminal) -> String {
        let mut lines = self.body(snapshot, terminal);
        lines.extend(self.footer(snapshot, terminal, RECENT));
        self.drawn_over(&lines, terminal)
    }

    fn drawn_over(&mut self, lines: &[String], terminal: &Terminal) -> String {
        if !terminal.live {
            let gap = if self.drawn { "\n" } else { "" };
            self.drawn = true;
            return format!("{gap}{}\n", lines.join("\n"));
        }
        // Home, overwrite line by line, clear what is left: no flicker.
        let start = if self.drawn { "\x1b[H" } else { "\x1b[2J\x1b[H" };
        self.drawn = true;
        format!("{start}{}\x1b[K\n\x1b[J", lines.join("\x1b[K\n"))
    }

    fn body(&self, snapshot: &Snapshot, terminal: &Terminal) -> Vec<String> {
        let mut lines = vec![
            terminal.paint(
                Colour::Bold,
                &format!(
                    "dnsprobe top  {}  {}  window {:.1} s, total {:.1} s",
                    snapshot.time, self.node, snapshot.window_seconds, snapshot.since_seconds
                ),
            ),
            String::new(),
        ];
        if snapshot.pods.is_empty() {
            lines.extend(wrap(&self.why_empty(snapshot), "", terminal.width));
            return lines;
        }
        let layout = Layout::for_rows(&snapshot.pods, terminal);
        lines.push(terminal.paint(Colour::Bold, &layout.heading()));
        // Troubled owners first, so that a low terminal shows them.
        let mut rows: Vec<&PodCounts> = snapshot.pods.iter().collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.total.lost_total, row.total.queries)));
        for row in rows {
            lines.extend(layout.row(row, terminal));
        }
        lines
    }

    /// An empty table never leaves the reader guessing.
    fn why_empty(&self, snapshot: &Snapshot) -> String {
        let ports: Vec<String> = self.ports.iter().map(ToString::to_string).collect();
        let seen = format!(
            "No DNS query to or from port {} was seen on this node in the {:.1} s since the start",
            ports.join(", "),
            snapshot.since_seconds
        );
        if snapshot.completeness.is_complete() {
            format!("{seen}. Everything is attached, so there was none.")
        } else {
            format!("{seen}, but not everything can be seen (below).")
        }
    }

    fn footer(&self, snapshot: &Snapshot, terminal: &Terminal, count: usize) -> Vec<String> {
        let mut lines = vec![String::new()];
        if !self.recent.is_empty() {
            lines.push(terminal.paint(Colour::Bold, "LATEST VERDICTS"));
        }
        for verdict in self.recent.iter().rev().take(count) {
            lines.extend(verdict_lines(verdict, terminal));
        }
        let line = completeness(&snapshot.completeness);
        let colour =
            if snapshot.completeness.is_complete() { Colour::Dim } else { Colour::Warning };
        lines.extend(wrap(&line, "", terminal.width).iter().map(|l| terminal.paint(colour, l)));
        lines
    }
}

/// A verdict in two lines, longer if the terminal is narrow: what and whose,
/// then the proof.
fn verdict_lines(verdict: &Verdict, terminal: &Terminal) -> Vec<String> {
    let query = &verdict.query;
    let first = format!(
        "{} {} {}: {} -> {}",
        verdict.time,
        verdict.cause,
        clean(&verdict.owner.to_string()),
        question(query),
        query.server
    );
    let colour = if verdict.loss { Colour::Loss } else { Colour::Warning };
    let mut lines: Vec<String> =
        wrap(&first, "", terminal.width).iter().map(|line| terminal.paint(colour, line)).collect();
    lines.extend(wrap(&clean(&verdict.summary), "    ", terminal.width));
    lines
}

/// Where the columns are. Where an owner's label and the numbers do not fit
/// side by side, every owner gets a line of its own, never a cut label.
struct Layout {
    owner_width: usize,
    stacked: bool,
}

impl Layout {
    fn for_rows(pods: &[PodCounts], terminal: &Terminal) -> Self {
        let longest = pods.iter().map(|row| label(&row.owner, row.role).chars().count()).max();
        let longest = longest.unwrap_or(0).max("OWNER".len());
        let all = COLUMNS.iter().map(|(_, width)| width).sum::<usize>();
        let stacked = longest + all > terminal.width;
        Self { owner_width: if stacked { STACKED_WIDTH } else { longest }, stacked }
    }

    fn line(&self, first: &str, cells: [&dyn Display; COLUMNS.len()]) -> String {
        let mut line = format!("{first:<width$}", width = self.owner_width);
        for ((_, width), cell) in COLUMNS.iter().zip(cells) {
            // A cell wider than its column keeps its blank.
            let _ = write!(line, " {:>width$}", cell.to_string(), width = width - 1);
        }
        line
    }

    fn heading(&self) -> String {
        self.line("OWNER", std::array::from_fn(|column| &COLUMNS[column].0 as &dyn Display))
    }

    fn row(&self, row: &PodCounts, terminal: &Terminal) -> Vec<String> {
        let label = label(&row.owner, row.role);
        let mut lines = Vec::new();
        if self.stacked {
            lines.extend(wrap(&label, "", terminal.width));
        }
        let first = if self.stacked { "" } else { &label };
        lines.push(self.counts(first, "window", &row.window, terminal));
        lines.push(self.counts("", "total", &row.total, terminal));
        if row.servers.len() > 1 {
            for server in row.servers.iter().take(SERVERS) {
                let remote = server.remote.as_ref().map(|remote| format!(" {remote}"));
                let name = format!("{}{}", server.server, remote.unwrap_or_default());
                lines.extend(self.server(&clean(&name), &server.total, terminal));
            }
            if let more @ 1.. = row.servers.len().saturating_sub(SERVERS) {
                lines.push(format!("  and {more} more servers"));
            }
        }
        let details = details(row);
        if !details.is_empty() {
            let colour = if row.total.lost_total > 0 { Colour::Loss } else { Colour::Warning };
            let wrapped = wrap(&details, "  ", terminal.width);
            lines.extend(wrapped.iter().map(|line| terminal.paint(colour, line)));
        }
        lines
    }

    /// A server's totals, under its address.
    fn server(&self, server: &str, total: &Counts, terminal: &Terminal) -> Vec<String> {
        let address = format!("  {server}");
        if address.chars().count() <= self.owner_width {
            return vec![self.counts(&address, "total", total, terminal)];
        }
        vec![address, self.counts("", "total", total, terminal)]
    }

    fn counts(&self, first: &str, span: &str, counts: &Counts, terminal: &Terminal) -> String {
        let latency = counts.latency_seconds;
        let ms = |value: fn(&LatencySummary) -> f64| {
            latency.as_ref().map_or_else(|| "-".to_owned(), |latency| millis(value(latency)))
        };
        let rate = counts.queries_per_second;
        let rate = format!("{rate:.*}", usize::from(rate < 1_000.0));
        let line = self.line(
            first,
            [
                &span,
                &rate,
                &counts.queries,
                &counts.answered,
                &counts.in_flight,
                &counts.lost_total,
                &ms(|latency| latency.p50),
                &ms(|latency| latency.p95),
                &ms(|latency| latency.p99),
                &ms(|latency| latency.max),
            ],
        );
        if counts.lost_total > 0 { terminal.paint(Colour::Loss, &line) } else { line }
    }
}

/// What the columns do not say, as `name window/total`: losses and near misses
/// by cause, response codes that are no success, queries not followed.
fn details(row: &PodCounts) -> String {
    let success = rcode_name(0);
    let (window, total) = (&row.window, &row.total);
    let mut parts = Vec::new();
    let mut add = |title: &str, pairs: String| {
        if !pairs.is_empty() {
            parts.push(format!("{title} {pairs}"));
        }
    };
    add("lost", pairs(&window.lost, &total.lost, |_| true));
    add("near misses", pairs(&window.near_misses, &total.near_misses, |_| true));
    add("rcodes", pairs(&window.rcodes, &total.rcodes, |code| *code != success));
    if total.not_followed > 0 {
        add("not followed", format!("{}/{}", window.not_followed, total.not_followed));
    }
    if parts.is_empty() {
        return String::new();
    }
    format!("{} (window/total)", parts.join("; "))
}

fn pairs<K: Ord + Display>(
    window: &BTreeMap<K, u64>,
    total: &BTreeMap<K, u64>,
    shown: impl Fn(&K) -> bool,
) -> String {
    let pairs: Vec<String> = total
        .iter()
        .filter(|(key, _)| shown(key))
        .map(|(key, count)| format!("{key} {}/{count}", window.get(key).unwrap_or(&0)))
        .collect();
    pairs.join(", ")
}

#[cfg(test)]
mod tests;
