//! What keys do, and what the signs mean.

use ratatui::text::Line;

use super::style::Palette;

const KEYS: [(&str, &str); 12] = [
    ("Up, Down, k, j", "select a row; scroll"),
    ("PgUp, PgDn, g, G", "a page; to the first or last"),
    ("Enter", "open the selected owner"),
    ("Esc", "back; in the table: clear the filter"),
    ("s, S", "next or previous sort key: lost, rate, queries, p95, max, name"),
    ("r", "reverse the order"),
    ("/", "filter by owner, server address or cause of loss"),
    ("p, Space", "pause the picture; counting goes on"),
    ("?, h", "this help"),
    ("Ctrl-L", "draw anew"),
    ("Ctrl-Z", "suspend; `fg` comes back"),
    ("q, Ctrl-C", "quit, with a summary"),
];

const SIGNS: [&str; 8] = [
    "One sign per window in the table: the band of its 95th percentile.",
    "  ▁ < 0.1 ms  ▂ < 1 ms  ▃ < 10 ms  ▄ < 100 ms  ▅ < 1 s  ▆ < 5 s  █ >= 5 s",
    "  x a query was lost in that window    blank: no answer",
    "In the map of one owner: the share of a window's answers in a band.",
    "  · none  ░ below 10 %  ▒ below 50 %  ▓ below 90 %  █ the others",
    "Latencies are of the last window, LOST, QUERIES and IN FL (in flight) since the start.",
    "Names are known of lost queries only; `dnsprobe trace` has them all.",
    "The last line says what could not be seen.",
];

/// The help's lines.
pub(super) fn lines(palette: Palette) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled("KEYS", palette.heading())];
    lines.extend(KEYS.iter().map(|(key, what)| Line::from(format!("  {key:<18}{what}"))));
    lines.push(Line::default());
    lines.push(Line::styled("SIGNS", palette.heading()));
    lines.extend(SIGNS.iter().map(|line| Line::from(*line)));
    lines
}
