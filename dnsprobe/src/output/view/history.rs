//! The last windows of every row, for the heat maps.

use std::collections::{HashMap, VecDeque};

use ratatui::text::{Line, Span};

use super::{Subject, style::Palette};
use crate::stats::{BAND_NAMES, BANDS, Snapshot, band, shade};

/// Windows kept per row: the width of a wide terminal.
const WINDOWS: usize = 240;
/// One sign per latency band, shortest first.
const LEVELS: [char; BANDS] = ['▁', '▂', '▃', '▄', '▅', '▆', '█'];
/// One sign per shade.
const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];
/// The sign of a window in which a query was lost.
const LOST: char = 'x';
/// The sign of a window without an answer.
const QUIET: char = ' ';

/// One window of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    bands: [u64; BANDS],
    /// The band of the 95th percentile.
    p95: Option<usize>,
    lost: u64,
}

/// The windows of every row of the last snapshot, oldest first.
#[derive(Debug, Default)]
pub(super) struct History(HashMap<Subject, VecDeque<Cell>>);

impl History {
    /// Adds a window; rows that are gone are forgotten.
    pub(super) fn add(&mut self, snapshot: &Snapshot) {
        let mut earlier = std::mem::take(&mut self.0);
        for row in &snapshot.pods {
            let subject = (row.owner.clone(), row.role);
            let mut cells = earlier.remove(&subject).unwrap_or_default();
            if cells.len() == WINDOWS {
                cells.pop_front();
            }
            let window = &row.window;
            cells.push_back(Cell {
                bands: window.latency_bands,
                p95: window.latency_seconds.map(|latency| band((latency.p95 * 1e9) as u64)),
                lost: window.lost_total,
            });
            self.0.insert(subject, cells);
        }
    }

    /// The latest windows, oldest first.
    fn latest(&self, subject: &Subject, width: usize) -> impl Iterator<Item = &Cell> {
        let cells = self.0.get(subject);
        let skipped = cells.map_or(0, |cells| cells.len().saturating_sub(width));
        cells.into_iter().flatten().skip(skipped)
    }

    /// One sign per window: how long its 95th percentile was, or that a query was
    /// lost.
    pub(super) fn sparkline(
        &self,
        subject: &Subject,
        width: usize,
        palette: Palette,
    ) -> Vec<Span<'static>> {
        let span = |cell: &Cell| match (cell.lost, cell.p95) {
            (1.., _) => Span::styled(LOST.to_string(), palette.loss()),
            (0, Some(band)) => Span::styled(LEVELS[band].to_string(), palette.band(band)),
            (0, None) => Span::raw(QUIET.to_string()),
        };
        self.latest(subject, width).map(span).collect()
    }

    /// The heat map of a row: a line per latency band, longest on top, a column per
    /// window, the darker the more of its answers; below, where queries were lost.
    pub(super) fn heat_map(
        &self,
        subject: &Subject,
        width: usize,
        palette: Palette,
    ) -> Vec<Line<'static>> {
        const TITLE: usize = 10;
        let width = width.saturating_sub(TITLE);
        let mut lines: Vec<Line<'static>> = (0..BANDS)
            .rev()
            .map(|band| {
                let shades: String = self
                    .latest(subject, width)
                    .map(|cell| SHADES[shade(&cell.bands, band)])
                    .collect();
                Line::from(vec![
                    Span::raw(format!("{:>8}  ", BAND_NAMES[band])),
                    Span::styled(shades, palette.band(band)),
                ])
            })
            .collect();
        let lost = self.latest(subject, width).map(|cell| if cell.lost > 0 { LOST } else { QUIET });
        lines.push(Line::from(vec![
            Span::raw(format!("{:>8}  ", "lost")),
            Span::styled(lost.collect::<String>(), palette.loss()),
        ]));
        lines
    }
}
