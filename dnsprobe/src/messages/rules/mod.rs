//! Which text is which message. The first rule that fits counts: texts that
//! quote another program's come before those they quote.

mod coredns;
mod golang;
mod libc;
mod tools;

use super::Message;

/// One family of messages: what it recognises in a line.
type Rule = fn(&str) -> Option<Message>;

/// In the order in which they are tried.
const RULES: [Rule; 4] = [coredns::recognise, golang::recognise, tools::recognise, libc::recognise];

/// The message in a line of text, wherever in the line it stands, so that
/// prefixes of loggers and `kubectl` do not matter.
///
/// Any text is safe to pass.
#[must_use]
pub fn recognise(line: &str) -> Option<Message> {
    RULES.iter().find_map(|rule| rule(line))
}

#[cfg(test)]
mod tests;
