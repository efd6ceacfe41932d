//! The full-screen view of `top`: one panel per file. Takes snapshots, verdicts and
//! keys, and draws itself into a buffer of any size; it knows no terminal.
//!
//! What could not be seen stands in the last lines of every screen, of whatever
//! size.

mod help;
mod history;
mod keys;
mod order;
mod pod;
mod status;
mod style;
mod table;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc};

use dnsprobe_common::flow::Role;
use ratatui::{buffer::Buffer, layout::Rect, text::Line};

use self::{history::History, order::Sort, style::Palette};
use super::text::{clean, label};
use crate::{
    engine::Verdict,
    identity::Owner,
    stats::{PodCounts, Snapshot},
};

pub use keys::{Key, Reaction};

/// Verdicts kept for the pods' own screens.
const LOSSES: usize = 200;

/// Whom a row is about.
type Subject = (Arc<Owner>, Role);

/// What is on the screen below the title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Panel {
    Table,
    Pod,
    Help,
}

/// The view's state.
#[derive(Debug)]
pub struct View {
    node: String,
    ports: String,
    palette: Palette,
    panel: Panel,
    /// What is shown: the latest, unless paused.
    shown: Option<Snapshot>,
    latest: Option<Snapshot>,
    history: History,
    losses: VecDeque<Verdict>,
    sort: Sort,
    reversed: bool,
    filter: String,
    typing: bool,
    paused: bool,
    selected: Option<Subject>,
    /// First line shown of a panel that is longer than the screen.
    scroll: usize,
    /// Lines of the body when it was drawn last.
    page: usize,
}

impl View {
    /// An empty view. `node` is the node's name, `ports` the ports watched.
    #[must_use]
    pub fn new(node: &str, ports: &[u16], colour: bool) -> Self {
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        Self {
            node: clean(node).into_owned(),
            ports: ports.join(", "),
            palette: Palette { colour },
            panel: Panel::Table,
            shown: None,
            latest: None,
            history: History::default(),
            losses: VecDeque::new(),
            sort: Sort::Lost,
            reversed: false,
            filter: String::new(),
            typing: false,
            paused: false,
            selected: None,
            scroll: 0,
            page: 1,
        }
    }

    /// Takes in the counters of an interval.
    pub fn snapshot(&mut self, snapshot: &Snapshot) {
        self.latest = Some(snapshot.clone());
        if !self.paused {
            self.history.add(snapshot);
            self.shown = self.latest.clone();
        }
    }

    /// Takes in a verdict; old ones make room.
    pub fn verdict(&mut self, verdict: &Verdict) {
        if self.losses.len() == LOSSES {
            self.losses.pop_front();
        }
        self.losses.push_back(verdict.clone());
    }

    /// The rows shown, in their order.
    fn rows(&self) -> Vec<&PodCounts> {
        let wanted = self.filter.to_lowercase();
        let mut rows: Vec<&PodCounts> = self
            .shown
            .iter()
            .flat_map(|snapshot| &snapshot.pods)
            .filter(|row| wanted.is_empty() || matches(row, &wanted))
            .collect();
        order::sort(&mut rows, self.sort, self.reversed);
        rows
    }

    /// Index of the selected row; the first where the selected one is gone.
    fn selected_index(&self, rows: &[&PodCounts]) -> usize {
        let is_selected = |row: &&PodCounts| {
            self.selected
                .as_ref()
                .is_some_and(|(owner, role)| (&row.owner, &row.role) == (owner, role))
        };
        rows.iter().position(is_selected).unwrap_or(0)
    }

    /// Draws the view. Any size will do.
    pub fn draw(&mut self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        let (width, height) = (usize::from(area.width), usize::from(area.height));
        let seen = self.completeness(width, (height / 4).max(1));
        let mut left = height - seen.len();
        let mut take = |wanted: usize, spare: usize| {
            let taken = if left >= wanted + spare { wanted } else { 0 };
            left -= taken;
            taken
        };
        let title = take(1, 1);
        let bar = take(1, 4);
        let body = left;
        self.page = body.max(1);
        let mut lines = Vec::with_capacity(height);
        lines.extend(self.title(width).into_iter().take(title));
        let mut content = match self.panel {
            Panel::Table => self.table(width, body),
            Panel::Pod => self.pod(width),
            Panel::Help => help::lines(self.palette),
        };
        if self.panel != Panel::Table {
            self.scroll = self.scroll.min(content.len().saturating_sub(body));
            content.drain(..self.scroll);
        }
        content.resize(body, Line::default());
        lines.extend(content);
        lines.extend(self.bar().into_iter().take(bar));
        lines.extend(seen);
        for (y, line) in (area.y..area.bottom()).zip(&lines) {
            buffer.set_line(area.x, y, line, area.width);
        }
    }
}

/// Whether a row has the text in its label, a server's address or a cause.
fn matches(row: &PodCounts, wanted: &str) -> bool {
    label(&row.owner, row.role).to_lowercase().contains(wanted)
        || row.servers.iter().any(|server| server.server.to_string().contains(wanted))
        || row
            .servers
            .iter()
            .filter_map(|server| server.remote.as_ref())
            .any(|remote| remote.to_string().contains(wanted))
        || row.total.lost.keys().any(|cause| cause.as_str().contains(wanted))
}

/// The text in at most so many characters, with a sign where it was cut.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        short.push('~');
    }
    short
}
