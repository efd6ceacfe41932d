//! What came of it.

use std::fmt;

use serde::Serialize;

use super::truth::{Score, Truth};
use crate::observed::{Completeness, Observed};

/// What a check has to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Bar {
    /// Every query of the right pod and container.
    AllRight,
    /// 99.9 %, and none of the wrong.
    NearlyAllRight,
}

/// A check.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) about: String,
    bar: Bar,
    #[serde(flatten)]
    score: Score,
    /// What else was measured.
    pub(super) note: String,
    pub(super) passed: bool,
    /// The first that were not right.
    examples: Vec<String>,
}

impl Check {
    /// Judge the queries of check `of` by what one dnsprobe said.
    pub(super) fn new(
        truth: &Truth,
        of: &'static str,
        name: &'static str,
        about: &str,
        bar: Bar,
        observed: &Observed,
    ) -> Self {
        let score = truth.score(of, observed);
        let examples = truth.examples(of, observed);
        let passed = bar.is_reached(&score);
        Self { name, about: about.to_owned(), bar, score, note: String::new(), passed, examples }
    }
}

impl Bar {
    fn is_reached(self, score: &Score) -> bool {
        let right = match self {
            Self::AllRight => score.right == score.queries,
            Self::NearlyAllRight => score.right * 1000 >= score.queries * 999,
        };
        right && score.wrong == 0 && score.queries > 0
    }
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    kernel: String,
    checks: Vec<Check>,
    lost_events: u64,
    pub(super) right: bool,
    summary: String,
}

impl Report {
    pub(super) fn new(kernel: &str, seen: &Completeness, checks: Vec<Check>) -> Self {
        let passed = checks.iter().filter(|check| check.passed).count();
        let sum = |part: fn(&Score) -> u64| checks.iter().map(|c| part(&c.score)).sum::<u64>();
        let summary = format!(
            "attribution: {passed} of {} checks passed; {} queries, {} right, {} wrong, {} \
             unattributed, {} unnamed, {} missing",
            checks.len(),
            sum(|s| s.queries),
            sum(|s| s.right),
            sum(|s| s.wrong),
            sum(|s| s.unattributed),
            sum(|s| s.unnamed),
            sum(|s| s.missing),
        );
        let right = passed == checks.len();
        Self { kernel: kernel.to_owned(), checks, lost_events: seen.lost_events, right, summary }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let Score { queries, right, wrong, unattributed, unnamed, missing, lost } = check.score;
            let verdict = if check.passed { "ok  " } else { "FAIL" };
            writeln!(
                f,
                "{verdict}  {:26} {right} of {queries} right, {wrong} wrong, {unattributed} \
                 unattributed, {unnamed} unnamed, {missing} missing, {lost} lost  {}",
                check.name, check.note
            )?;
            for example in check.examples.iter().filter(|_| !check.passed) {
                writeln!(f, "      {example}")?;
            }
        }
        writeln!(f, "{}", self.summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_missed_by_one_wrong_owner_and_by_too_few_right_ones() {
        let score = |right, wrong| Score { queries: 10_000, right, wrong, ..Score::default() };
        assert!(Bar::AllRight.is_reached(&score(10_000, 0)));
        assert!(!Bar::AllRight.is_reached(&score(9_999, 0)));
        assert!(Bar::NearlyAllRight.is_reached(&score(9_990, 0)));
        assert!(!Bar::NearlyAllRight.is_reached(&score(9_989, 0)));
        assert!(!Bar::NearlyAllRight.is_reached(&score(9_999, 1)));
        assert!(!Bar::AllRight.is_reached(&Score::default()));
    }
}
