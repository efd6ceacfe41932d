//! What keys do.

use std::sync::Arc;

use super::{Panel, View};

/// A key, whichever terminal it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as on the keyboard")]
pub enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
}

/// What a key asks for besides another picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing.
    Draw,
    /// To stop.
    Quit,
}

/// Characters a filter may have.
const MAX_FILTER: usize = 64;

impl View {
    /// Does what a key asks for.
    pub fn key(&mut self, key: Key) -> Reaction {
        if self.typing {
            self.type_filter(key);
            return Reaction::Draw;
        }
        match key {
            Key::Char('q') => return Reaction::Quit,
            Key::Char('?' | 'h') => self.show(Panel::Help),
            Key::Char('p' | ' ') => self.pause(),
            Key::Char('s') => self.sort = self.sort.next(),
            Key::Char('S') => self.sort = self.sort.previous(),
            Key::Char('r') => self.reversed = !self.reversed,
            Key::Char('/') => {
                self.show(Panel::Table);
                self.typing = true;
            }
            Key::Escape | Key::Backspace if self.panel != Panel::Table => self.show(Panel::Table),
            Key::Escape => self.filter.clear(),
            Key::Enter if self.panel == Panel::Table => {
                self.move_by(0);
                if self.selected.is_some() {
                    self.show(Panel::Pod);
                }
            }
            Key::Up | Key::Char('k') => self.move_by(-1),
            Key::Down | Key::Char('j') => self.move_by(1),
            Key::PageUp => self.move_by(-self.page_step()),
            Key::PageDown => self.move_by(self.page_step()),
            Key::Home | Key::Char('g') => self.move_by(isize::MIN / 2),
            Key::End | Key::Char('G') => self.move_by(isize::MAX / 2),
            Key::Enter | Key::Backspace | Key::Char(_) => {}
        }
        Reaction::Draw
    }

    fn show(&mut self, panel: Panel) {
        self.panel = panel;
        self.scroll = 0;
    }

    fn pause(&mut self) {
        self.paused = !self.paused;
        if !self.paused {
            self.shown.clone_from(&self.latest);
        }
    }

    fn type_filter(&mut self, key: Key) {
        match key {
            Key::Enter => self.typing = false,
            Key::Escape => {
                self.typing = false;
                self.filter.clear();
            }
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Char(c) if !c.is_control() && self.filter.chars().count() < MAX_FILTER => {
                self.filter.push(c);
            }
            _ => {}
        }
    }

    fn page_step(&self) -> isize {
        isize::try_from(self.page.saturating_sub(2).max(1)).unwrap_or(1)
    }

    /// Moves the selection in the table, or the text in other panels.
    fn move_by(&mut self, lines: isize) {
        if self.panel != Panel::Table {
            self.scroll = self.scroll.saturating_add_signed(lines).min(usize::MAX / 4);
            return;
        }
        let rows = self.rows();
        let Some(last) = rows.len().checked_sub(1) else { return };
        let index = self.selected_index(&rows).saturating_add_signed(lines).min(last);
        let selected = (Arc::clone(&rows[index].owner), rows[index].role);
        self.selected = Some(selected);
    }
}
