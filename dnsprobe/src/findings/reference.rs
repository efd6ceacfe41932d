//! The page of all findings, `docs/findings.md`.

use std::fmt::Write as _;

use super::FindingCode;
use crate::engine::Pattern;

/// Every code, harm, pattern and remedy.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Findings\n\nMade by `cargo xtask docs`. `dnsprobe diagnose` finds these, and each \
         [cause](causes.md) by which queries were lost, or nearly. A finding is a fault \
         (exit code 1) when its harm is `lost`, `wrong-answer` or `slow`. The worst harm comes \
         first; of one harm, what hit most queries of most pods.\n",
    );
    for code in FindingCode::ALL {
        let harm = code.harm();
        let fault = if harm.is_fault() { "a fault" } else { "no fault" };
        let _ = write!(text, "\n## {}\n\nHarm `{}`, {fault}.", code.as_str(), harm.as_str());
        if code.fewest() > 1 {
            let _ = write!(text, " Counts for a pod from {} occurrences on", code.fewest());
            if code.least_share() > 0.0 {
                let _ = write!(text, ", and {} % of its queries", code.least_share() * 100.0);
            }
            text.push('.');
        }
        let _ = write!(text, "\n\n{}\n\n**What to do.** {}\n", code.describe(), code.advice());
    }
    text.push_str("\n## Patterns\n\nWhen a finding happens; the first that fits:\n\n");
    let order = [
        Pattern::ScalingWindow,
        Pattern::Always,
        Pattern::Peak,
        Pattern::Frequent,
        Pattern::Sporadic,
    ];
    for pattern in order {
        let _ = writeln!(text, "- `{pattern}`: {}", pattern.describe());
    }
    text.push_str("\nThe thresholds are in `dnsprobe/src/engine/pattern.rs`.\n");
    text
}
