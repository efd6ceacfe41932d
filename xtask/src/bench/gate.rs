//! `cargo xtask bench --gate`: a short fixed bench against the committed
//! baseline, so that no commit makes the hot path dearer without saying why.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::bars;
use super::report::Kernel;
use super::run;
use crate::vm;
use crate::workspace::Workspace;

/// Where the baseline is committed.
const FILE: &str = "xtask/bench-baseline.json";

/// The rows compared: those that repeat within 1 %. What a new conntrack entry
/// costs is a difference of two rows, whose noise alone is more than 3 %.
const ROWS: [&str; 4] =
    ["dns-transaction", "non-dns-transaction", "dropped-non-dns", "tcp-segment"];

/// A figure may be this many times its baseline.
const GROWTH: f64 = 1.03;

/// What was measured when the baseline was accepted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Baseline {
    /// `uname -r` of the guest.
    release: String,
    /// Why these figures are the right ones now.
    reason: String,
    /// Guest instructions that dnsprobe's programs add to a row's unit.
    added_in_kernel: BTreeMap<String, f64>,
}

/// A row against its baseline.
#[derive(Debug, PartialEq)]
pub(crate) struct Compared {
    row: &'static str,
    baseline: Option<f64>,
    measured: Option<f64>,
}

impl Compared {
    /// A figure that is missing on either side is a failure: the row was to be
    /// compared.
    pub(crate) fn passed(&self) -> bool {
        match (self.baseline, self.measured) {
            (Some(baseline), Some(measured)) => measured <= baseline * GROWTH,
            _ => false,
        }
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.passed() { "ok  " } else { "FAIL" };
        write!(f, "{word}  {}: ", self.row)?;
        match (self.baseline, self.measured) {
            (Some(baseline), Some(measured)) => write!(
                f,
                "{measured:.0} instructions added in the kernel, baseline {baseline:.0} ({:+.1} %)",
                (measured / baseline - 1.0) * 100.0
            ),
            (None, _) => write!(f, "no figure in {FILE}"),
            (_, None) => write!(f, "not measured"),
        }
    }
}

/// Measures and compares each row.
///
/// # Errors
/// Says what could not be measured, or read.
pub(crate) fn compare(workspace: &Workspace) -> Result<Vec<Compared>> {
    let file = workspace.root().join(FILE);
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {FILE}"))?;
    let baseline: Baseline = serde_json::from_str(&text).with_context(|| FILE.to_owned())?;
    let kernel = measure(workspace)?;
    if kernel.release != baseline.release {
        println!("note  the baseline is of {}, this is {}", baseline.release, kernel.release);
    }
    Ok(against(&baseline, &kernel))
}

/// Makes what is measured now the baseline.
///
/// # Errors
/// Says what could not be measured, or written.
pub(super) fn accept(workspace: &Workspace, reason: &str) -> Result<()> {
    ensure!(!reason.trim().is_empty(), "a new baseline needs a reason");
    let kernel = measure(workspace)?;
    let figures = ROWS.iter().map(|&row| {
        let figure = kernel.added_in_kernel(row).with_context(|| format!("{row}: not measured"))?;
        Ok((row.to_owned(), figure.round()))
    });
    let baseline = Baseline {
        release: kernel.release.clone(),
        reason: reason.trim().to_owned(),
        added_in_kernel: figures.collect::<Result<_>>()?,
    };
    let text = serde_json::to_string_pretty(&baseline)? + "\n";
    fs::write(workspace.root().join(FILE), &text)
        .with_context(|| format!("cannot write {FILE}"))?;
    print!("{text}");
    Ok(())
}

fn measure(workspace: &Workspace) -> Result<Kernel> {
    let arguments: Vec<String> = ROWS
        .iter()
        .flat_map(|row| ["--only", row])
        .chain(["--watcher", "dnsprobe"])
        .map(str::to_owned)
        .collect();
    let guest = vm::find_kernel(workspace, bars::KERNEL)?;
    let kernel = run::kernel(workspace, bars::KERNEL, &guest, &arguments, Instant::now());
    if let Some(why) = &kernel.failed {
        anyhow::bail!("{}: {why}", bars::KERNEL);
    }
    ensure!(!kernel.is_partial(), "not every hook was attached, so the figures are too good");
    Ok(kernel)
}

fn against(baseline: &Baseline, kernel: &Kernel) -> Vec<Compared> {
    ROWS.iter()
        .map(|&row| Compared {
            row,
            baseline: baseline.added_in_kernel.get(row).copied(),
            measured: kernel.added_in_kernel(row),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(baseline: Option<f64>, measured: Option<f64>) -> Compared {
        Compared { row: "dns-transaction", baseline, measured }
    }

    #[test]
    fn a_figure_may_grow_by_three_percent() {
        assert!(compared(Some(1000.0), Some(1030.0)).passed());
        assert!(compared(Some(1000.0), Some(1.0)).passed());
        assert!(!compared(Some(1000.0), Some(1031.0)).passed());
    }

    #[test]
    fn a_missing_figure_is_a_failure() {
        for (baseline, measured) in [(None, Some(1.0)), (Some(1.0), None), (None, None)] {
            let one = compared(baseline, measured);
            assert!(!one.passed() && one.to_string().starts_with("FAIL"));
        }
    }

    #[test]
    fn every_row_is_compared_whatever_was_measured() {
        let baseline = Baseline {
            release: "6.12.1".into(),
            reason: "first".into(),
            added_in_kernel: BTreeMap::from([("dns-transaction".into(), 10.0)]),
        };
        let nothing = Kernel::failed("6.12", "6.12.1", "no guest".into());
        let compared = against(&baseline, &nothing);
        assert_eq!(compared.len(), ROWS.len());
        assert!(compared.iter().all(|one| !one.passed()));
    }
}
