//! What happened to single queries, moment by moment, as text.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    engine::{Cause, Moment, Verdict, asked},
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
    let mut text = format!("{}: {}\n", verdict.cause, asked(query, &verdict.owner));
    let _ = writeln!(text, "  {}", printable(&verdict.summary));
    let moments = verdict.moments();
    let start = moments.first().map_or(query.sent, Moment::at).unix_ns();
    let _ = writeln!(text, "  {:>14}  {:>4}  WHAT", "AFTER, ms", "CPU");
    for moment in &moments {
        let cpu = moment.cpu().map_or_else(|| "-".to_owned(), |cpu| cpu.to_string());
        let after_ms = moment.at().unix_ns().saturating_sub(start) as f64 / 1e6;
        let what = moment.words();
        let _ = writeln!(text, "  {after_ms:>14.6}  {cpu:>4}  {}", printable(&what));
    }
    let colliding = verdict.colliding();
    if !colliding.is_empty() {
        text += "  colliding entries:\n";
    }
    for [direction, first, second] in colliding {
        let same = if first == second { "   <- the same" } else { "" };
        let _ = writeln!(text, "    {direction:<8}  first   {first}");
        let _ = writeln!(text, "    {:<8}  second  {second}{same}", "");
    }
    text
}
