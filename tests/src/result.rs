//! What came of a scenario, in machine form: `lab run --out DIR` writes one
//! `NAME.result.json` per scenario, and `cargo xtask accuracy` puts them
//! together into a table.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::expectation::Losses;

/// Version of the format.
const SCHEMA: &str = "dnsprobe-lab/1";

/// One scenario on one kernel.
#[derive(Debug, Serialize)]
pub struct ScenarioResult {
    schema: &'static str,
    /// Name of the scenario.
    pub scenario: &'static str,
    /// What happens in it.
    pub about: &'static str,
    /// Kernel release.
    pub kernel: String,
    /// Why it did not run, if it did not.
    pub skipped: Option<String>,
    /// Whether it ran and everything was right.
    pub right: bool,
    /// How long it took, by this machine's clock.
    pub seconds: f64,
    /// Everything that was compared.
    pub checks: Vec<Check>,
    /// The lost queries, where the scenario counts them.
    pub losses: Option<Losses>,
    /// The findings, where the scenario is about those.
    pub findings: Option<Findings>,
}

/// One thing that was compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Whether it was as it should be.
    pub right: bool,
    /// What was seen, and if it was wrong, what was expected.
    pub what: String,
}

/// Findings against those that had to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Expected and found.
    pub right: u64,
    /// Expected and not found.
    pub missing: u64,
    /// Found and not expected.
    #[serde(rename = "false")]
    pub wrong: u64,
}

impl ScenarioResult {
    /// A scenario that ran.
    #[must_use]
    pub fn ran(
        (scenario, about): (&'static str, &'static str),
        kernel: &str,
        seconds: f64,
        comparison: Comparison,
    ) -> Self {
        let Comparison { checks, losses, findings } = comparison;
        Self {
            schema: SCHEMA,
            scenario,
            about,
            kernel: kernel.to_owned(),
            skipped: None,
            // Nothing compared is not right: a scenario must be able to fail.
            right: !checks.is_empty() && checks.iter().all(|check| check.right),
            seconds,
            checks,
            losses,
            findings,
        }
    }

    /// A scenario that does not exist on this kernel.
    #[must_use]
    pub fn skipped(
        (scenario, about): (&'static str, &'static str),
        kernel: &str,
        reason: &str,
    ) -> Self {
        let skipped = Some(reason.to_owned());
        let nothing = Comparison::default();
        Self { skipped, ..Self::ran((scenario, about), kernel, 0.0, nothing) }
    }

    /// Everything that is wrong.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        self.checks.iter().filter(|check| !check.right).map(|check| check.what.as_str())
    }
}

/// What a scenario compared.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Everything, in words.
    pub checks: Vec<Check>,
    /// The lost queries, if it counts them.
    pub losses: Option<Losses>,
    /// The findings, if it is about those.
    pub findings: Option<Findings>,
}

impl Comparison {
    /// One thing more that is wrong.
    pub fn wrong(&mut self, what: impl Into<String>) {
        self.checks.push(Check::wrong(what));
    }
}

impl Check {
    /// As it should be.
    pub fn right(what: impl Into<String>) -> Self {
        Self { right: true, what: what.into() }
    }

    /// Not as it should be.
    pub fn wrong(what: impl Into<String>) -> Self {
        Self { right: false, what: what.into() }
    }
}

impl Findings {
    /// Compare what was found with what had to be found, each named by
    /// everything that must be right about it, such as `CODE of OWNER`. Equal
    /// ones count as often as they occur.
    #[must_use]
    pub fn compare(expected: &[String], found: &[String]) -> (Self, Vec<Check>) {
        let mut difference: BTreeMap<&str, i64> = BTreeMap::new();
        for name in expected {
            *difference.entry(name).or_default() += 1;
        }
        for name in found {
            *difference.entry(name).or_default() -= 1;
        }
        let mut findings = Self::default();
        let mut checks = Vec::new();
        for (name, difference) in difference {
            let times = difference.unsigned_abs();
            match difference {
                0 => checks.push(Check::right(format!("found: {name}"))),
                1.. => {
                    findings.missing += times;
                    checks.push(Check::wrong(format!("not found {times} times: {name}")));
                }
                _ => {
                    findings.wrong += times;
                    checks.push(Check::wrong(format!("found {times} times too often: {name}")));
                }
            }
        }
        findings.right = expected.len() as u64 - findings.missing;
        if checks.is_empty() {
            checks.push(Check::right("nothing to find, nothing found"));
        }
        (findings, checks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(expected: &[&str], found: &[&str]) -> (Findings, usize) {
        let owned =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (findings, checks) = Findings::compare(&owned(expected), &owned(found));
        (findings, checks.iter().filter(|check| !check.right).count())
    }

    #[test]
    fn a_missing_and_a_false_finding_are_wrong() {
        let all = Findings { right: 2, missing: 0, wrong: 0 };
        assert_eq!(compare(&["a", "b"], &["b", "a"]), (all, 0));
        assert_eq!(compare(&["a", "a"], &["a"]), (Findings { right: 1, missing: 1, wrong: 0 }, 1));
        assert_eq!(compare(&["a"], &["a", "b"]), (Findings { right: 1, missing: 0, wrong: 1 }, 1));
        assert_eq!(compare(&[], &[]), (Findings::default(), 0));
    }

    #[test]
    fn one_wrong_check_makes_the_cell_wrong() {
        let ran = |checks| {
            let comparison = Comparison { checks, ..Comparison::default() };
            ScenarioResult::ran(("x", "y"), "6.12", 1.0, comparison).right
        };
        assert!(ran(vec![Check::right("a")]));
        assert!(!ran(vec![Check::right("a"), Check::wrong("b")]));
        assert!(!ran(vec![]), "nothing compared");
    }

    #[test]
    fn a_skipped_scenario_is_not_right() {
        let skipped = ScenarioResult::skipped(("x", "y"), "5.10", "no such function");
        assert!(!skipped.right && skipped.skipped.as_deref() == Some("no such function"));
    }
}
