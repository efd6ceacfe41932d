//! What the kernel said of itself: the files as they were, and the counters
//! that moved.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Redactor, ipvs, pretty};
use crate::record::{CONNTRACK_OWNERS, NodeFile, Phase};

/// Files whose addresses are written in hexadecimal, where they are not found
/// to be hidden.
const HEXADECIMAL: [&str; 2] = ["/proc/net/ip_vs", "/proc/net/ip_vs_conn"];

/// What a recorder reads before it begins, and what it means when it is not there.
const EXPECTED: [(&str, &str); 6] = [
    ("sysctls", "the recording does not have it"),
    ("counters.json", "the recording does not have it"),
    ("kernel-config", "the distribution does not keep it in /boot or /lib/modules"),
    ("/proc/modules", "it could not be read"),
    (CONNTRACK_OWNERS, "conntrack was not there, or an older dnsprobe recorded"),
    ("/proc/net/ip_vs", "IPVS was not loaded"),
];

/// Name and text of each file.
pub(super) fn files(files: &[NodeFile], redactor: &Redactor) -> Vec<(String, String)> {
    let mut texts: Vec<(String, String)> = files
        .iter()
        .filter(|file| !(redactor.hides_addresses() && HEXADECIMAL.contains(&file.path.as_str())))
        .map(|file| {
            let cut = if file.cut { "(the rest is left out)\n" } else { "" };
            (name(file), format!("{}{cut}", hidden(file, redactor)))
        })
        .collect();
    for phase in [Phase::Before, Phase::After] {
        let of = |path: &str| files.iter().find(|file| file.path == path && file.phase == phase);
        if let Some(text) = ipvs::readable(of(HEXADECIMAL[0]), of(HEXADECIMAL[1])) {
            texts.push((format!("node/{}/ipvs.txt", phase.as_str()), text));
        }
    }
    texts
}

/// Names of owners are known by their place only: most of them asked nothing.
fn hidden(file: &NodeFile, redactor: &Redactor) -> String {
    if file.path != CONNTRACK_OWNERS {
        return file.text.clone();
    }
    let mut value: Value = serde_json::from_str(&file.text).unwrap_or_default();
    redactor.json(&mut value);
    pretty(&value)
}

/// What was not read before the watch, and why not.
pub(super) fn absent(files: &[NodeFile]) -> impl Iterator<Item = (&'static str, &'static str)> {
    EXPECTED.into_iter().filter(|(path, _)| !files.iter().any(|file| file.path == *path))
}

/// A pod and its entries in the conntrack table, before and after.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entries {
    pub(super) owner: String,
    pub(super) before: Option<u64>,
    pub(super) after: Option<u64>,
}

/// The conntrack table by owner, most entries after the watch first. Empty where
/// it was not read.
pub(super) fn conntrack(files: &[NodeFile], redactor: &Redactor) -> Vec<Entries> {
    let of = |phase| {
        let is_it = |file: &&NodeFile| file.path == CONNTRACK_OWNERS && file.phase == phase;
        files
            .iter()
            .find(is_it)
            .map_or_else(BTreeMap::new, |file| by_owner(&hidden(file, redactor)))
    };
    let (before, after) = (of(Phase::Before), of(Phase::After));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut rows: Vec<Entries> = names
        .into_iter()
        .map(|owner| Entries {
            owner: owner.clone(),
            before: before.get(owner).copied(),
            after: after.get(owner).copied(),
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.after.max(row.before)));
    rows
}

fn by_owner(text: &str) -> BTreeMap<String, u64> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let rows = value["owners"].as_array().into_iter().flatten();
    let pods = rows.filter_map(|row| {
        Some((row["owner"]["label"].as_str()?.to_owned(), row["entries"].as_u64()?))
    });
    let others = value["others"].as_u64().map(|others| ("no running pod".to_owned(), others));
    pods.chain(others).collect()
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

    fn owners(phase: Phase, entries: u64) -> NodeFile {
        let owner = r#"{"kind":"pod","label":"shop/idle-0","pod":"idle-0"}"#;
        let text = format!(r#"{{"owners":[{{"owner":{owner},"entries":{entries}}}],"others":7}}"#);
        file(CONNTRACK_OWNERS, phase, &text)
    }

    #[test]
    fn the_table_is_told_by_owner_before_and_after() {
        let files = [owners(Phase::Before, 3), owners(Phase::After, 90)];
        let open = Redactor::new(&[], [0; 32]);
        let row = |owner: &str, before, after| Entries {
            owner: owner.to_owned(),
            before: Some(before),
            after: Some(after),
        };
        assert_eq!(
            conntrack(&files, &open),
            [row("shop/idle-0", 3, 90), row("no running pod", 7, 7)]
        );
        assert!(conntrack(&[], &open).is_empty());
    }

    #[test]
    fn pods_that_asked_nothing_are_hidden_too() {
        let hiding = Redactor::new(&[super::super::Redact::Names], [0; 32]);
        let files = [owners(Phase::Before, 3)];
        let shown = super::files(&files, &hiding);
        assert!(
            !shown[0].1.contains("idle-0") && shown[0].1.contains("\"entries\": 3"),
            "{shown:?}"
        );
        assert!(conntrack(&files, &hiding).iter().all(|row| !row.owner.contains("idle-0")));
    }

    #[test]
    fn what_was_not_read_is_told_with_its_reason() {
        let files = EXPECTED.map(|(path, _)| file(path, Phase::Before, ""));
        assert_eq!(absent(&files).count(), 0);
        assert_eq!(
            absent(&files[..5]).collect::<Vec<_>>(),
            [("/proc/net/ip_vs", "IPVS was not loaded")]
        );
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
