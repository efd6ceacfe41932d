//! What looks how. Nothing is said by colour alone.

use ratatui::style::{Color, Modifier, Style};

/// Whether colours are used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Palette {
    pub(super) colour: bool,
}

impl Palette {
    fn coloured(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    pub(super) fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn loss(self) -> Style {
        self.coloured(Color::Red)
    }

    pub(super) fn warning(self) -> Style {
        self.coloured(Color::Yellow)
    }

    pub(super) fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    pub(super) fn dim(self) -> Style {
        self.coloured(Color::DarkGray)
    }

    /// Of a latency band, by its number.
    pub(super) fn band(self, band: usize) -> Style {
        match band {
            0..=2 => self.good(),
            3 => self.warning(),
            _ => self.loss(),
        }
    }
}
