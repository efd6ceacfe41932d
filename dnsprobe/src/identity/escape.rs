//! Makes text from outside (commands, unit names) safe to print.

use std::fmt::Write as _;

/// The bytes with everything but printable ASCII written as `\DDD` (decimal,
/// as in DNS names), and the backslash doubled. The result cannot move a
/// cursor, break a line or pose as something else.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\{byte:03}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn only_printable_ascii_stays() {
        assert_eq!(escape(b"Web Content"), "Web Content");
        assert_eq!(escape(b"a\x1b[2J\nb\\\x7f\xc3\xa9"), r"a\027[2J\010b\\\127\195\169");
    }
}
