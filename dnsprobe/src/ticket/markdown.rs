//! Text from outside in Markdown: nothing in it may look like mark-up.

use crate::output::printable;

/// As code, also inside a table.
pub(super) fn code(text: &str) -> String {
    format!("`{}`", printable(text).replace('`', "'").replace('|', "\\|"))
}

/// As running text.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in printable(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '!') {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_mark_up() {
        assert_eq!(code("a`b|c\n"), "`a'b\\|c\\u{a}`");
        assert_eq!(plain("<b>*x*"), "\\<b\\>\\*x\\*");
    }
}
