//! What the output goes to: how wide it is, and whether it understands colour
//! and being drawn over.

use std::{
    env,
    io::{self, IsTerminal},
    os::fd::AsRawFd,
};

/// Columns where the output is no terminal that tells.
const DEFAULT_WIDTH: usize = 120;
/// Lines of a terminal that does not tell.
const DEFAULT_HEIGHT: usize = 24;
/// Columns below which text is not wrapped any further.
const MIN_WIDTH: usize = 40;

/// Properties of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// The output is a terminal: frames replace each other.
    pub live: bool,
    /// Colour is wanted and understood.
    pub colour: bool,
    /// Columns.
    pub width: usize,
    /// Lines.
    pub height: usize,
}

impl Terminal {
    /// What standard output is now. Ask again before each frame: windows are
    /// resized.
    ///
    /// `NO_COLOR` and `TERM=dumb` are honoured.
    #[must_use]
    pub fn of_stdout() -> Self {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Self::PLAIN;
        }
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let (width, height) = size(&stdout).unwrap_or((DEFAULT_WIDTH, DEFAULT_HEIGHT));
        Self { live: !dumb, colour: !dumb && !no_colour, width: width.max(MIN_WIDTH), height }
    }

    /// A file or pipe.
    pub const PLAIN: Self =
        Self { live: false, colour: false, width: DEFAULT_WIDTH, height: usize::MAX };

    /// The text in a colour, if colours are wanted.
    pub(super) fn paint(&self, colour: Colour, text: &str) -> String {
        if self.colour { format!("\x1b[{}m{text}\x1b[0m", colour as u8) } else { text.to_owned() }
    }
}

/// Colours by their SGR number. Text never depends on them.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Colour {
    /// Headings.
    Bold = 1,
    /// Less important than the rest.
    Dim = 2,
    /// A query was lost.
    Loss = 31,
    /// Nearly, or incomplete.
    Warning = 33,
}

/// Columns and lines of the terminal behind a descriptor.
fn size(output: &impl AsRawFd) -> Option<(usize, usize)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, which `size` is and which lives
    // through the call.
    let result = unsafe { libc::ioctl(output.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    let known = result == 0 && size.ws_col > 0 && size.ws_row > 0;
    known.then(|| (usize::from(size.ws_col), usize::from(size.ws_row)))
}
