//! The table of all scenarios on all kernels, and its sum.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::result::{Findings, Losses, ScenarioResult};
use crate::source::Source;

const SCHEMA: &str = "dnsprobe-accuracy/2";

/// Everything that was run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    schema: String,
    pub(super) kernels: Vec<Kernel>,
    pub(super) scenarios: Vec<Scenario>,
    /// By scenario, then kernel.
    pub(super) cells: Vec<Cell>,
    pub(super) summary: Summary,
}

/// A kernel of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kernel {
    /// `6.12`.
    pub(super) series: String,
    /// `uname -r`.
    pub(super) release: String,
    /// What was run there: the commit, its date, and whether the checkout differed.
    pub(super) source: Source,
}

/// A row of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Scenario {
    pub(super) name: String,
    pub(super) about: String,
}

/// One scenario on one kernel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Cell {
    pub(super) scenario: String,
    /// Series of the kernel.
    pub(super) kernel: String,
    #[serde(flatten)]
    pub(super) state: State,
    pub(super) losses: Option<Losses>,
    pub(super) findings: Option<Findings>,
    /// What was run, where it is not what the rest of the column is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<Source>,
}

/// What came of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(super) enum State {
    /// Everything was as it must be.
    Right,
    /// Something was not.
    Wrong {
        /// Each difference in words.
        problems: Vec<String>,
    },
    /// The scenario cannot happen on this kernel.
    Absent {
        /// Why not.
        reason: String,
    },
    /// It should have run and left no result.
    NoResult {
        /// What happened instead.
        reason: String,
    },
}

/// The sum of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Summary {
    /// Cells that can exist.
    pub(super) cells: u64,
    pub(super) right: u64,
    /// Cells that cannot exist.
    pub(super) absent: u64,
    pub(super) false_causes: u64,
    /// Lost queries without a cause, where there was one.
    pub(super) unexplained: u64,
    /// Lost by the clients' own count.
    pub(super) lost: u64,
    /// Lost by dnsprobe's count.
    pub(super) counted: u64,
    pub(super) findings: Findings,
}

impl Cell {
    /// From what the lab wrote.
    pub(super) fn new(scenario: &str, kernel: &str, result: &ScenarioResult) -> Self {
        let wrong = result.checks.iter().filter(|check| !check.right);
        let state = match &result.skipped {
            Some(reason) => State::Absent { reason: reason.clone() },
            None if result.right => State::Right,
            None => State::Wrong { problems: wrong.map(|check| check.what.clone()).collect() },
        };
        Self {
            scenario: scenario.to_owned(),
            kernel: kernel.to_owned(),
            state,
            losses: result.losses.clone(),
            findings: result.findings.clone(),
            source: None,
        }
    }

    /// A scenario that left nothing.
    pub(super) fn without_result(scenario: &str, kernel: &str, reason: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            kernel: kernel.to_owned(),
            state: State::NoResult { reason: reason.to_owned() },
            losses: None,
            findings: None,
            source: None,
        }
    }

    /// Whether the table may be called right with it.
    pub(super) fn acceptable(&self) -> bool {
        matches!(self.state, State::Right | State::Absent { .. })
    }
}

impl Report {
    pub(super) fn new(kernels: Vec<Kernel>, scenarios: Vec<Scenario>, cells: Vec<Cell>) -> Self {
        let summary = Summary::of(&cells);
        Self { schema: SCHEMA.to_owned(), kernels, scenarios, cells, summary }
    }

    /// This run, and of an earlier one the kernels that it did not run on. A scenario
    /// that the earlier one did not know has no result there.
    pub(super) fn with_others_of(self, earlier: Self, order: &[String]) -> Self {
        let mut kernels = self.kernels.clone();
        kernels.extend(earlier.kernels.iter().filter(|k| !self.has(&k.series)).cloned());
        kernels.sort_by_key(|kernel| order.iter().position(|series| *series == kernel.series));
        let mut cells = Vec::new();
        for scenario in &self.scenarios {
            for kernel in &kernels {
                let run = if self.has(&kernel.series) { &self } else { &earlier };
                cells.push(run.cell(&scenario.name, &kernel.series).cloned().unwrap_or_else(
                    || Cell::without_result(&scenario.name, &kernel.series, "not run yet"),
                ));
            }
        }
        Self::new(kernels, self.scenarios, cells)
    }

    /// The scenarios without an acceptable cell on a kernel.
    pub(super) fn missing(&self, series: &str, names: &[String]) -> Vec<String> {
        let has = |name: &str| self.cell(name, series).is_some_and(Cell::acceptable);
        names.iter().filter(|name| !has(name)).cloned().collect()
    }

    /// An earlier table with the cells of this run in it. A kernel that the earlier
    /// one did not know is a column of this run.
    pub(super) fn put_into(self, earlier: Self, order: &[String]) -> Self {
        let mut kernels = earlier.kernels.clone();
        kernels.extend(self.kernels.iter().filter(|k| !earlier.has(&k.series)).cloned());
        kernels.sort_by_key(|kernel| order.iter().position(|series| *series == kernel.series));
        let about = |scenario: &Scenario| {
            let known = earlier.scenarios.iter().find(|known| known.name == scenario.name);
            known.filter(|_| scenario.about.is_empty()).unwrap_or(scenario).clone()
        };
        let scenarios: Vec<Scenario> = self.scenarios.iter().map(about).collect();
        let mut cells = Vec::new();
        for scenario in &scenarios {
            for kernel in &kernels {
                let new = self.cell(&scenario.name, &kernel.series).cloned().map(|mut cell| {
                    cell.source = self.source_of(&kernel.series, &kernel.source);
                    cell
                });
                let old = || earlier.cell(&scenario.name, &kernel.series).cloned();
                cells.push(new.or_else(old).unwrap_or_else(|| {
                    Cell::without_result(&scenario.name, &kernel.series, "not run yet")
                }));
            }
        }
        Self::new(kernels, scenarios, cells)
    }

    /// What this run is of on a kernel, unless it is the same as a column's.
    fn source_of(&self, series: &str, column: &Source) -> Option<Source> {
        let kernel = self.kernels.iter().find(|kernel| kernel.series == series)?;
        let is_same = kernel.source.commit == column.commit && !kernel.source.modified;
        (!is_same).then(|| kernel.source.clone())
    }

    fn has(&self, series: &str) -> bool {
        self.kernels.iter().any(|kernel| kernel.series == series)
    }

    /// Whether every cell that can exist is right.
    pub(super) fn right(&self) -> bool {
        self.summary.cells > 0 && self.cells.iter().all(Cell::acceptable)
    }

    pub(super) fn cell(&self, scenario: &str, kernel: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.scenario == scenario && cell.kernel == kernel)
    }
}

impl Summary {
    fn of(cells: &[Cell]) -> Self {
        let mut sum = Self::default();
        for cell in cells {
            if matches!(cell.state, State::Absent { .. }) {
                sum.absent += 1;
                continue;
            }
            sum.cells += 1;
            sum.right += u64::from(cell.state == State::Right);
            if let Some(losses) = &cell.losses {
                sum.false_causes += losses.false_causes;
                sum.unexplained += losses.unexplained;
                sum.lost += losses.lost;
                sum.counted += losses.counted;
            }
            if let Some(findings) = &cell.findings {
                sum.findings.right += findings.right;
                sum.findings.missing += findings.missing;
                sum.findings.wrong += findings.wrong;
            }
        }
        sum
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cells, right, absent, false_causes, unexplained, lost, counted, findings } =
            self;
        let sign = if lost == counted { "=" } else { "but" };
        write!(
            f,
            "accuracy: {right} of {cells} cells right, {false_causes} false causes, \
             {unexplained} unexplained that should not be, {lost} lost by clients {sign} \
             {counted} counted"
        )?;
        let Findings { right, missing, wrong } = findings;
        if right + missing + wrong > 0 {
            write!(f, ", {right} findings right, {missing} missing, {wrong} false")?;
        }
        if *absent > 0 {
            write!(f, "; {absent} cells cannot exist")?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn cell(scenario: &str, kernel: &str, state: State) -> Cell {
        let losses = Losses { lost: 5, counted: 5, right: 5, ..Losses::default() };
        let losses = matches!(state, State::Right | State::Wrong { .. }).then_some(losses);
        let (scenario, kernel) = (scenario.into(), kernel.into());
        Cell { scenario, kernel, state, losses, findings: None, source: None }
    }

    fn kernel(series: &str, commit: &str) -> Kernel {
        let source = Source { commit: commit.into(), date: "2026-11-23".into(), modified: false };
        Kernel { series: series.into(), release: format!("{series}.0-amd64"), source }
    }

    #[test]
    fn a_run_of_one_kernel_replaces_its_column_and_keeps_the_others() {
        let wrong = State::Wrong { problems: vec!["x".into()] };
        let earlier = report(vec![cell("one", "5.10", wrong), cell("one", "6.12", State::Right)]);
        let scenarios =
            ["one", "new"].map(|name| Scenario { name: name.into(), about: String::new() });
        let later = Report::new(
            vec![kernel("5.10", "later")],
            scenarios.into(),
            vec![cell("one", "5.10", State::Right), cell("new", "5.10", State::Right)],
        );
        let order = ["5.10".to_owned(), "6.12".to_owned()];
        let both = later.with_others_of(earlier, &order);
        let commits: Vec<_> = both.kernels.iter().map(|k| k.source.commit.as_str()).collect();
        assert_eq!(commits, ["later", "abc1234"]);
        assert_eq!((both.summary.cells, both.summary.right), (4, 3));
        let not_run = both.cell("new", "6.12").unwrap();
        assert_eq!(not_run.state, State::NoResult { reason: "not run yet".into() });
    }

    #[test]
    fn what_was_missing_is_put_in_and_says_of_which_commit_it_is() {
        let earlier = report(vec![
            cell("one", "5.10", State::Right),
            cell("one", "6.12", State::Wrong { problems: vec!["x".into()] }),
        ]);
        let names = ["one".to_owned(), "new".to_owned()];
        assert_eq!(earlier.missing("5.10", &names), ["new"]);
        assert_eq!(earlier.missing("6.12", &names), names);
        assert_eq!(earlier.missing("7.3", &names), names);
        let scenarios = names.map(|name| Scenario { name, about: String::new() });
        let later = Report::new(
            vec![kernel("5.10", "later"), kernel("6.12", "later")],
            scenarios.into(),
            vec![
                cell("one", "6.12", State::Right),
                cell("new", "5.10", State::Right),
                cell("new", "6.12", State::Right),
            ],
        );
        let both = later.put_into(earlier, &["5.10".to_owned(), "6.12".to_owned()]);
        assert_eq!((both.summary.cells, both.summary.right), (4, 4));
        assert_eq!(both.scenarios[0].about, "about");
        let commit = |scenario: &str, series: &str| {
            both.cell(scenario, series)?.source.as_ref().map(|source| source.commit.clone())
        };
        assert_eq!(commit("one", "5.10"), None);
        assert_eq!(commit("one", "6.12").as_deref(), Some("later"));
        assert_eq!(commit("new", "5.10").as_deref(), Some("later"));
    }

    pub(crate) fn report(cells: Vec<Cell>) -> Report {
        let kernels = ["5.10", "6.12"].map(|series| kernel(series, "abc1234"));
        let scenarios =
            ["one", "two"].map(|name| Scenario { name: name.into(), about: "about".into() });
        Report::new(kernels.into(), scenarios.into(), cells)
    }

    #[test]
    fn all_right_is_right_and_the_last_line_says_so() {
        let absent = State::Absent { reason: "no such function".into() };
        let report = report(vec![cell("one", "5.10", State::Right), cell("two", "5.10", absent)]);
        assert!(report.right());
        assert_eq!(
            report.summary.to_string(),
            "accuracy: 1 of 1 cells right, 0 false causes, 0 unexplained that should not be, \
             5 lost by clients = 5 counted; 1 cells cannot exist"
        );
    }

    #[test]
    fn a_wrong_cell_and_a_cell_without_result_are_not_right() {
        let wrong = State::Wrong { problems: vec!["x".into()] };
        assert!(!report(vec![cell("one", "5.10", wrong)]).right());
        let missing = Cell::without_result("one", "5.10", "the guest died");
        let report = report(vec![cell("two", "5.10", State::Right), missing]);
        assert!(!report.right());
        assert_eq!((report.summary.cells, report.summary.right), (2, 1));
    }

    #[test]
    fn an_empty_table_is_not_right() {
        assert!(!report(Vec::new()).right());
        let absent = State::Absent { reason: "x".into() };
        assert!(!report(vec![cell("one", "5.10", absent)]).right());
    }

    #[test]
    fn false_causes_and_unexplained_are_summed() {
        let mut one = cell("one", "5.10", State::Wrong { problems: vec!["x".into()] });
        one.losses = Some(Losses {
            lost: 3,
            counted: 4,
            unexplained: 2,
            right: 1,
            false_causes: 1,
            ..Losses::default()
        });
        let text = report(vec![one]).summary.to_string();
        assert!(text.contains("0 of 1 cells right, 1 false causes, 2 unexplained"), "{text}");
        assert!(text.ends_with("3 lost by clients but 4 counted"), "{text}");
    }

    #[test]
    fn a_report_reads_back() {
        let before = report(vec![cell("one", "5.10", State::Right)]);
        let text = serde_json::to_string(&before).unwrap();
        let after: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(after.summary, before.summary);
        assert_eq!(after.cells[0].state, State::Right);
    }
}
