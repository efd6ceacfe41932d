//! What the kernel said of itself: the files as they were, and the counters
//! that moved.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Redactor;
use crate::record::{NodeFile, Phase};

/// Files whose addresses are written in hexadecimal, where they are not found
/// to be hidden.
const HEXADECIMAL: [&str; 2] = ["/proc/net/ip_vs", "/proc/net/ip_vs_conn"];

/// Name and text of each file.
pub(super) fn files(files: &[NodeFile], redactor: &Redactor) -> Vec<(String, String)> {
    files
        .iter()
        .filter(|file| !(redactor.hides_addresses() && HEXADECIMAL.contains(&file.path.as_str())))
        .map(|file| {
            let cut = if file.cut { "(the rest is left out)\n" } else { "" };
            (name(file), format!("{}{cut}", file.text))
        })
        .collect()
}

/// A name of our own making: the path in a recording may hold anything.
fn name(file: &NodeFile) -> String {
    let flat: String = file
        .path
        .trim_start_matches('/')
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
        .take(100)
        .collect();
    format!("node/{}/{flat}.txt", file.phase.as_str())
}

/// Files that are not in the ticket because their addresses cannot be hidden.
pub(super) fn left_out(files: &[NodeFile], redactor: &Redactor) -> Vec<&'static str> {
    HEXADECIMAL
        .into_iter()
        .filter(|path| redactor.hides_addresses() && files.iter().any(|file| file.path == *path))
        .collect()
}

/// A counter that moved: its name, before and after.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) name: String,
    pub(super) before: u64,
    pub(super) after: u64,
}

/// Counters that differ before and after, and whether both were read.
pub(super) fn moved(files: &[NodeFile]) -> Option<Vec<Moved>> {
    let of = |phase| {
        let file = files.iter().find(|file| file.path == "counters.json" && file.phase == phase)?;
        Some(numbers(&serde_json::from_str(&file.text).ok()?))
    };
    let (before, after) = (of(Phase::Before)?, of(Phase::After)?);
    let moved = after.into_iter().filter_map(|(name, after)| {
        let before = *before.get(&name)?;
        (before != after).then_some(Moved { name, before, after })
    });
    Some(moved.collect())
}

/// `conntrack.drop` and the like.
fn numbers(value: &Value) -> BTreeMap<String, u64> {
    let mut numbers = BTreeMap::new();
    for (group, counters) in value.as_object().into_iter().flatten() {
        for (name, number) in counters.as_object().into_iter().flatten() {
            if let Some(number) = number.as_u64() {
                numbers.insert(format!("{group}.{name}"), number);
            }
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, phase: Phase, text: &str) -> NodeFile {
        NodeFile { path: path.to_owned(), phase, text: text.to_owned(), cut: false }
    }

    #[test]
    fn no_path_leads_out_of_the_ticket() {
        let file = file("/../../etc/passwd", Phase::Before, "");
        assert_eq!(name(&file), "node/before/------etc-passwd.txt");
    }

    #[test]
    fn only_counters_that_moved_are_told() {
        let before = r#"{"udp":{"no_ports":4,"in_errors":null},"conntrack":{"drop":7}}"#;
        let after = r#"{"udp":{"no_ports":9,"in_errors":1},"conntrack":{"drop":7}}"#;
        let files = [
            file("counters.json", Phase::Before, before),
            file("counters.json", Phase::After, after),
        ];
        let expected = Moved { name: "udp.no_ports".to_owned(), before: 4, after: 9 };
        assert_eq!(moved(&files), Some(vec![expected]));
        assert_eq!(moved(&files[..1]), None);
    }
}
