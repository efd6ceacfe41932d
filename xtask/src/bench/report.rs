//! Everything that was measured, held against the bars.

use std::fmt;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::bars::{self, Judged, Verdict, What};
use super::figures::{self, Row};
use super::line::{Line, Watcher};
use super::programs::{self, Program};
use super::start_up::{self, StartUp};
use super::user_space::{self, UserSpace};
use crate::source::Source;

/// Instead of a series: this machine's own kernel and clock.
pub(super) const NATIVE: &str = "native";

const SCHEMA: &str = "dnsprobe-performance/1";

/// The whole of `cargo xtask bench`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    schema: String,
    pub(super) source: Source,
    /// Guest instructions, kernel 6.12, continuous mode; null when not measured.
    pub(super) added_per_dns_transaction: Option<f64>,
    pub(super) added_per_non_dns_transaction: Option<f64>,
    pub(super) kernels: Vec<Kernel>,
    pub(super) bars: Vec<Judged>,
}

/// What one guest measured.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kernel {
    /// `6.12`.
    pub(super) series: String,
    /// `uname -r`.
    pub(super) release: String,
    /// dnsprobe's hook roles in force, of those there are.
    pub(super) roles: Option<[u32; 2]>,
    pub(super) rows: Vec<Row>,
    pub(super) start_up: Option<StartUp>,
    /// dnsprobe's own process, by the number of pods.
    pub(super) user_space: Vec<UserSpace>,
    /// dnsprobe's kernel programs.
    pub(super) programs: Vec<Program>,
    /// What limits the comparison with others.
    pub(super) notes: Vec<String>,
    /// Why there is nothing, if so.
    pub(super) failed: Option<String>,
}

impl Kernel {
    /// `out`: where the guest left its files.
    pub(super) fn new(series: &str, release: &str, lines: &[Line], out: &Path) -> Result<Self> {
        Ok(Self { programs: programs::read(lines, out)?, ..Self::of(series, release, lines) })
    }

    fn of(series: &str, release: &str, lines: &[Line]) -> Self {
        let roles = lines.iter().find_map(|line| match line {
            Line::Watcher { watcher: Watcher::Dnsprobe, started } => started.as_ref()?.roles,
            _ => None,
        });
        Self {
            series: series.to_owned(),
            release: release.to_owned(),
            roles,
            rows: figures::rows(lines),
            start_up: start_up::read(lines),
            user_space: user_space::read(lines),
            programs: Vec::new(),
            notes: lines.iter().filter_map(note).collect(),
            failed: None,
        }
    }

    pub(super) fn failed(series: &str, release: &str, why: String) -> Self {
        Self { failed: Some(why), ..Self::of(series, release, &[]) }
    }

    /// What dnsprobe adds to a row.
    fn added(&self, row: &str) -> Option<f64> {
        let row = self.rows.iter().find(|one| one.name == row)?;
        Some(row.watcher(Watcher::Dnsprobe)?.added)
    }

    /// Of that, what its kernel programs add.
    pub(super) fn added_in_kernel(&self, row: &str) -> Option<f64> {
        let row = self.rows.iter().find(|one| one.name == row)?;
        Some(row.watcher(Watcher::Dnsprobe)?.added_in_kernel)
    }

    /// What a bar is about.
    fn figure(&self, what: What) -> Option<f64> {
        match what {
            What::Added(row) => self.added(row),
            What::AttachedMilliseconds => self.start_up.map(|start| start.attached_ms),
            What::DetachedMilliseconds => self.start_up.map(|start| start.ended_ms),
            What::WakeUps => {
                self.user_space.iter().map(|one| one.wake_ups_per_second).reduce(f64::max)
            }
            What::ResidentMib => self.with_250_pods().map(UserSpace::resident_mib),
            What::ReadMilliseconds => self.with_250_pods().map(UserSpace::idle_ms),
        }
    }

    fn with_250_pods(&self) -> Option<&UserSpace> {
        self.user_space.iter().find(|one| one.pods == 250)
    }

    /// Whether some hook was missing, so that the figures are too good.
    pub(super) fn is_partial(&self) -> bool {
        self.roles.is_some_and(|[attached, of]| attached < of)
    }
}

/// A capture that lost packets was cheaper than one that has them all.
fn note(line: &Line) -> Option<String> {
    let Line::Stopped { watcher, said } = line else { return None };
    let dropped = said.iter().find(|line| line.contains("dropped by kernel"))?;
    Some(format!("{} says: {}", watcher.as_str(), dropped.trim()))
}

impl Report {
    /// `chosen`: only these rows were to be measured; all when empty.
    pub(super) fn new(source: Source, kernels: Vec<Kernel>, chosen: &[String]) -> Self {
        let reference = kernels.iter().find(|kernel| kernel.series == bars::KERNEL);
        let headline = |row| reference.and_then(|kernel| kernel.added(row));
        Self {
            schema: SCHEMA.to_owned(),
            source,
            added_per_dns_transaction: headline("dns-transaction"),
            added_per_non_dns_transaction: headline("non-dns-transaction"),
            bars: judge(&kernels, chosen),
            kernels,
        }
    }

    /// Whether every bar is kept, and by a dnsprobe that saw everything.
    pub(super) fn right(&self) -> bool {
        self.kernels.iter().all(|kernel| kernel.failed.is_none() && !kernel.is_partial())
            && self.bars.iter().all(|judged| judged.verdict == Verdict::Ok)
    }

    /// The bar of a row, if it has one.
    pub(super) fn bar(&self, what: &str, kernel: &str) -> Option<&Judged> {
        self.bars.iter().find(|judged| judged.what == what && judged.kernel == kernel)
    }
}

/// The bars of what was to be measured.
fn judge(kernels: &[Kernel], chosen: &[String]) -> Vec<Judged> {
    let reference = kernels.iter().find(|kernel| kernel.series == bars::KERNEL);
    let mut judged = Vec::new();
    for bar in bars::ALL {
        if !chosen.is_empty() && !chosen.iter().any(|name| name == bar.what.measured_by()) {
            continue;
        }
        for kernel in kernels {
            let at_most = if kernel.series == bars::KERNEL {
                Some(bar.at_most)
            } else if !bar.what.depends_on_kernel() {
                None
            } else {
                reference
                    .and_then(|reference| reference.figure(bar.what))
                    .map(|figure| figure * bars::OTHER_KERNELS)
            };
            if let Some(at_most) = at_most {
                let figure = kernel.figure(bar.what);
                judged.push(Judged::new(bar.what.as_str(), &kernel.series, at_most, figure));
            }
        }
    }
    judged
}

impl fmt::Display for Report {
    /// The last line: the sum.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |verdict| self.bars.iter().filter(|one| one.verdict == verdict).count();
        let (ok, over) = (count(Verdict::Ok), count(Verdict::Over));
        write!(f, "bench: {ok} of {} bars kept, {over} over", self.bars.len())?;
        let missing = count(Verdict::NoResult);
        if missing > 0 {
            write!(f, ", {missing} without a result")?;
        }
        for kernel in self.kernels.iter().filter(|kernel| kernel.is_partial()) {
            write!(f, "; not every hook attached on {}", kernel.series)?;
        }
        for kernel in self.kernels.iter().filter(|kernel| kernel.failed.is_some()) {
            write!(f, "; no measurements on {}", kernel.series)?;
        }
        let figures = [
            ("DNS", self.added_per_dns_transaction),
            ("non-DNS", self.added_per_non_dns_transaction),
        ];
        for (what, figure) in figures {
            if let Some(figure) = figure {
                write!(f, "; {figure:.0} instructions added per {what} transaction")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::lines;
    use super::super::line;
    use super::*;

    fn source() -> Source {
        Source { commit: "abc1234".into(), date: "2026-11-23".into(), modified: false }
    }

    fn kernel(series: &str, row: &str, times: u64) -> Kernel {
        let mut kernel = Kernel::of(series, "release", &lines());
        let added = kernel.rows[0].watchers[0];
        kernel.rows[0].name = row.to_owned();
        kernel.rows[0].watchers[0].added = added.added * times as f64;
        kernel
    }

    #[test]
    fn the_headline_is_of_the_kernel_with_the_bars() {
        let kernels =
            vec![kernel("6.1", "dns-transaction", 1), kernel("6.12", "dns-transaction", 2)];
        let report = Report::new(source(), kernels, &["dns-transaction".into()]);
        assert_eq!(report.added_per_dns_transaction, Some(40.0));
        assert_eq!(report.added_per_non_dns_transaction, None);
        assert!(report.right(), "{report}");
        assert_eq!(report.bar("dns-transaction", "6.1").unwrap().at_most, 52.0);
        let text = report.to_string();
        assert!(text.starts_with("bench: 2 of 2 bars kept, 0 over; 40 instr"), "{text}");
    }

    #[test]
    fn a_missing_row_and_a_row_over_its_bar_are_told() {
        let report = Report::new(source(), vec![kernel("6.12", "dns-transaction", 200)], &[]);
        assert!(!report.right());
        assert_eq!(report.bar("dns-transaction", "6.12").unwrap().verdict, Verdict::Over);
        assert_eq!(report.bar("non-dns-transaction", "6.12").unwrap().verdict, Verdict::NoResult);
    }

    #[test]
    fn a_dnsprobe_that_does_not_see_everything_is_not_right() {
        let mut kernel = kernel("6.12", "dns-transaction", 1);
        assert!(!kernel.is_partial());
        kernel.roles = Some([16, 17]);
        let report = Report::new(source(), vec![kernel], &["dns-transaction".into()]);
        assert!(!report.right());
        assert!(report.to_string().contains("not every hook attached on 6.12"));
    }

    #[test]
    fn no_guest_is_no_result() {
        let failed = Kernel::failed("6.12", "r", "the guest died".into());
        let report = Report::new(source(), vec![failed], &[]);
        assert!(!report.right());
        assert!(report.bars.iter().all(|judged| judged.verdict == Verdict::NoResult));
    }

    #[test]
    fn roles_come_from_the_watchers_line() {
        let started = Some(line::Started { roles: Some([17, 18]) });
        let lines = [Line::Watcher { watcher: Watcher::Dnsprobe, started }];
        assert!(Kernel::of("6.12", "r", &lines).is_partial());
    }
}
