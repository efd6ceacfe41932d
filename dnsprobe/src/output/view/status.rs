//! The title, the bar of keys, and what could not be seen.

use ratatui::text::{Line, Span};

use super::{Panel, View, cut};
use crate::output::text::{clean, completeness, wrap};

impl View {
    /// What this is, of when, and in which state.
    pub(super) fn title(&self, width: usize) -> Option<Line<'static>> {
        let mut text = "dnsprobe top".to_owned();
        if self.paused {
            text += "  PAUSED";
        }
        match &self.shown {
            Some(shown) => {
                text += &format!(
                    "  {}  {}  window {:.1} s, total {:.1} s",
                    self.node, shown.time, shown.window_seconds, shown.since_seconds
                );
            }
            None => text += &format!("  {}  waiting for the first numbers", self.node),
        }
        Some(Line::styled(cut(&text, width), self.palette.heading()))
    }

    /// The filter while there is one, and what keys do.
    pub(super) fn bar(&self) -> Option<Line<'static>> {
        if self.typing {
            let text = format!("filter: {}_  (Enter keeps it, Esc clears it)", clean(&self.filter));
            return Some(Line::styled(text, self.palette.heading()));
        }
        let mut spans = Vec::new();
        if !self.filter.is_empty() {
            let text = format!("filter: {}  ", clean(&self.filter));
            spans.push(Span::styled(text, self.palette.warning()));
        }
        let reversed = if self.reversed { " reversed" } else { "" };
        spans.push(Span::raw(match self.panel {
            Panel::Table => format!(
                "q quit  ? help  / filter  s sort: {}{reversed}  Enter open  p pause",
                self.sort.name()
            ),
            Panel::Pod => "q quit  ? help  Esc back  Up/Down scroll  p pause".to_owned(),
            Panel::Help => "q quit  Esc back  Up/Down scroll".to_owned(),
        }));
        Some(Line::from(spans))
    }

    /// What could not be seen, in at most so many lines, at least one. Of the latest
    /// snapshot, also while paused.
    pub(super) fn completeness(&self, width: usize, most: usize) -> Vec<Line<'static>> {
        let (text, style) = match &self.latest {
            None => ("nothing counted yet".to_owned(), self.palette.dim()),
            Some(latest) if latest.completeness.is_complete() => {
                (completeness(&latest.completeness), self.palette.dim())
            }
            Some(latest) => (completeness(&latest.completeness), self.palette.warning()),
        };
        let mut lines = wrap(&text, "", width);
        if lines.len() > most {
            lines.truncate(most);
            if let Some(last) = lines.last_mut() {
                *last = cut(&format!("{last} ..."), width);
            }
        }
        lines.into_iter().map(|line| Line::styled(line, style)).collect()
    }

    /// Why the table is empty.
    pub(super) fn why_empty(&self) -> String {
        let Some(shown) = &self.shown else {
            return "Attached; the first numbers come after one interval.".to_owned();
        };
        if !shown.pods.is_empty() {
            return format!(
                "None of {} rows has \"{}\" in its name, its servers or its causes. Esc clears \
                 the filter.",
                shown.pods.len(),
                clean(&self.filter)
            );
        }
        let seen = format!(
            "No DNS query to or from port {} was seen on this node in the {:.1} s since the start",
            self.ports, shown.since_seconds
        );
        if shown.completeness.is_complete() {
            format!("{seen}. Everything is attached, so there was none.")
        } else {
            format!("{seen}, but not everything can be seen (below).")
        }
    }
}
