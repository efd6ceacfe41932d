//! The table: one line per owner and role, with the heat of its last windows.

use ratatui::text::{Line, Span};

use super::{View, cut};
use crate::{
    output::text::{label, millis, wrap},
    stats::{LatencySummary, PodCounts},
};

/// A column behind the owner.
struct Column {
    title: &'static str,
    /// With the blank in front.
    width: usize,
    value: fn(&PodCounts) -> String,
}

/// In the order in which they are given up when there is no room, last first.
const COLUMNS: [Column; 8] = [
    Column { title: "LOST", width: 6, value: |row| row.total.lost_total.to_string() },
    Column { title: "Q/s", width: 7, value: |row| rate(row.window.queries_per_second) },
    Column { title: "P95 ms", width: 7, value: |row| latency(row, |l| l.p95) },
    Column { title: "P50 ms", width: 7, value: |row| latency(row, |l| l.p50) },
    Column { title: "IN FL", width: 6, value: |row| row.total.in_flight.to_string() },
    Column { title: "QUERIES", width: 9, value: |row| row.total.queries.to_string() },
    Column { title: "P99 ms", width: 7, value: |row| latency(row, |l| l.p99) },
    Column { title: "MAX ms", width: 7, value: |row| latency(row, |l| l.max) },
];

/// Columns of an owner at least, as far as there is room.
const OWNER: usize = 24;
/// Columns of the heat map at least.
const HEAT: usize = 16;

impl View {
    /// The table in so many lines, scrolled to the selected row.
    pub(super) fn table(&self, width: usize, height: usize) -> Vec<Line<'static>> {
        let rows = self.rows();
        if rows.is_empty() {
            return wrap(&self.why_empty(), "", width).into_iter().map(Line::from).collect();
        }
        let longest = rows.iter().map(|row| label(&row.owner, row.role).chars().count()).max();
        let layout = Layout::new(width, longest.unwrap_or(0));
        let mut lines = Vec::new();
        if height > 2 {
            lines.push(Line::styled(layout.heading(), self.palette.heading()));
        }
        let room = height - lines.len().min(height);
        let selected = self.selected_index(&rows);
        let first = (selected + 1).saturating_sub(room);
        for (index, row) in rows.iter().enumerate().skip(first).take(room) {
            lines.push(self.row(row, &layout, self.selected.is_some() && index == selected));
        }
        lines
    }

    fn row(&self, row: &PodCounts, layout: &Layout, selected: bool) -> Line<'static> {
        let style = match row.total.lost_total {
            1.. => self.palette.loss(),
            0 => ratatui::style::Style::new(),
        };
        let style = if selected { style.patch(self.palette.selected()) } else { style };
        let mut spans = vec![Span::styled(layout.numbers(row), style)];
        if layout.heat > 0 {
            let subject = (row.owner.clone(), row.role);
            spans.push(Span::raw(" "));
            spans.extend(self.history.sparkline(&subject, layout.heat, self.palette));
        }
        Line::from(spans)
    }
}

/// What fits side by side.
struct Layout {
    owner: usize,
    columns: usize,
    heat: usize,
}

impl Layout {
    fn new(width: usize, longest: usize) -> Self {
        let wanted = longest.clamp("OWNER".len(), OWNER.max(width / 3));
        let mut left = width.saturating_sub(wanted.min(OWNER));
        let mut columns = 0;
        for column in &COLUMNS {
            // The heat map is worth more than the last columns.
            let spare = if columns < 4 { 0 } else { HEAT + 1 };
            if left < column.width + spare {
                break;
            }
            left -= column.width;
            columns += 1;
        }
        let extra = wanted.saturating_sub(OWNER).min(left.saturating_sub(HEAT + 1));
        left -= extra;
        let owner = (wanted.min(OWNER) + extra).min(width);
        Self { owner, columns, heat: left.saturating_sub(1) }
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS[..self.columns]
    }

    fn heading(&self) -> String {
        let mut text = format!("{:<width$}", cut("OWNER", self.owner), width = self.owner);
        for column in self.columns() {
            text += &format!(" {:>width$}", column.title, width = column.width - 1);
        }
        if self.heat >= HEAT {
            text += " P95 PER WINDOW";
        }
        text
    }

    fn numbers(&self, row: &PodCounts) -> String {
        let label = cut(&label(&row.owner, row.role), self.owner);
        let mut text = format!("{label:<width$}", width = self.owner);
        for column in self.columns() {
            text += &format!(" {:>width$}", (column.value)(row), width = column.width - 1);
        }
        text
    }
}

fn rate(per_second: f64) -> String {
    format!("{per_second:.*}", usize::from(per_second < 1_000.0))
}

fn latency(row: &PodCounts, of: fn(&LatencySummary) -> f64) -> String {
    row.window.latency_seconds.as_ref().map_or_else(|| "-".to_owned(), |l| millis(of(l)))
}
