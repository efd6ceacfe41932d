//! What happened to single queries, moment by moment, as text.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;

use crate::{
    engine::{Cause, Query, Verdict},
    output::printable,
};

/// Examples per cause.
const EXAMPLES: usize = 3;

/// The first few verdicts of each cause, each as a diagram.
pub(super) fn render(verdicts: &[Verdict]) -> String {
    if verdicts.is_empty() {
        return "No query was lost or nearly lost.\n".to_owned();
    }
    let mut shown: BTreeMap<Cause, usize> = BTreeMap::new();
    let mut text = String::new();
    for verdict in verdicts {
        let count = shown.entry(verdict.cause).or_default();
        *count += 1;
        if *count <= EXAMPLES {
            text += &diagram(verdict);
            text.push('\n');
        }
    }
    text
}

fn diagram(verdict: &Verdict) -> String {
    let query = &verdict.query;
    let mut text = format!("{}: {} of {}\n", verdict.cause, asked(query), verdict.owner);
    let _ = writeln!(text, "  {}", printable(&verdict.summary));
    let mut moments: Vec<(u64, Option<u64>, String)> = Vec::new();
    if let Some(other) = &verdict.sibling {
        let what = format!("the other query was sent: {} of {}", asked(&other.query), other.owner);
        moments.push((other.query.sent.unix_ns(), None, what));
    }
    for item in &verdict.evidence {
        let cpu = item.detail.get("cpu").and_then(Value::as_u64);
        moments.push((item.at.unix_ns(), cpu, item.fact.clone()));
    }
    moments.sort_by_key(|(at_ns, ..)| *at_ns);
    let start = moments.first().map_or(query.sent.unix_ns(), |(at_ns, ..)| *at_ns);
    let _ = writeln!(text, "  {:>14}  {:>4}  WHAT", "AFTER, ms", "CPU");
    for (at_ns, cpu, what) in &moments {
        let cpu = cpu.map_or_else(|| "-".to_owned(), |cpu| cpu.to_string());
        let after_ms = at_ns.saturating_sub(start) as f64 / 1e6;
        let _ = writeln!(text, "  {after_ms:>14.6}  {cpu:>4}  {}", printable(what));
    }
    if let Some(tuples) = verdict.evidence.iter().find_map(|item| item.detail.get("tuples")) {
        text += &colliding(tuples);
    }
    text
}

fn asked(query: &Query) -> String {
    let question = query.question.as_ref().map_or_else(|| "? ?".to_owned(), ToString::to_string);
    let ends = query.ends();
    format!("{question}, id {}, {} -> {}{ends}", query.id, query.client, query.server)
}

/// Both entries of a clash below each other, and what they have in common.
fn colliding(tuples: &Value) -> String {
    let tuple = |side: &str, direction: &str| {
        tuples.get(side).and_then(|side| side.get(direction)).and_then(Value::as_str).unwrap_or("?")
    };
    let mut text = String::from("  colliding entries:\n");
    for direction in ["original", "reply"] {
        let (loser, winner) = (tuple("loser", direction), tuple("winner", direction));
        let same = if loser == winner { "   <- the same" } else { "" };
        let _ = writeln!(text, "    {direction:<8}  first   {winner}");
        let _ = writeln!(text, "    {:<8}  second  {loser}{same}", "");
    }
    text
}
