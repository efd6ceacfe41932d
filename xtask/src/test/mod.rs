//! `cargo xtask test`: everything that must hold, with one closing line.

mod guests;
mod host;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::progress::seconds;
use crate::setup::SERIES;
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{build, deploy, setup};

/// Run the checks, the unit tests, the native test and the lab in guests
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Run the checks, the unit tests, the native test and the lab in guests.

Without a selection, everything: formatting, clippy, generated pages, \
`cargo test`, dnsprobe on this machine's own kernel (needs root, else counted as \
skipped), and in guests, two at a time, the instructions of the hot path against \
their baseline and the lab's scenarios on each kernel: all of them on 6.12, on the \
others those whose outcome could depend on the kernel, the rest counted as skipped; \
all where a kernel is chosen alone. The guests count instructions, so that a busy \
machine changes nothing; those for scenarios that need two processors do not. The \
last line is the sum: N passed, N failed, N skipped. The exit code is 1 after any \
failure.")]
#[command(after_help = "\
Examples:
  cargo xtask test                       everything
  cargo xtask test --unit                checks and cargo test only
  cargo xtask test --lab --kernel 6.12   all scenarios on one kernel
  cargo xtask test --scenario ipvs-stale-backend")]
pub(crate) struct Args {
    /// Guest kernel, may be repeated; all of the matrix when not given
    #[arg(long, value_name = "VERSION")]
    kernel: Vec<String>,

    /// Checks and unit tests
    #[arg(long)]
    unit: bool,

    /// dnsprobe on this machine's own kernel
    #[arg(long)]
    native: bool,

    /// The instructions of the hot path against the committed baseline
    #[arg(long)]
    gate: bool,

    /// The lab in guests
    #[arg(long)]
    lab: bool,

    /// Only this scenario of the lab, may be repeated; implies --lab
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
}

/// Which parts to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Selection {
    unit: bool,
    native: bool,
    gate: bool,
    lab: bool,
}

impl Args {
    fn selection(&self) -> Selection {
        let lab = self.lab || !self.scenario.is_empty();
        let all = !(self.unit || self.native || self.gate || lab);
        Selection {
            unit: all || self.unit,
            native: all || self.native,
            gate: all || self.gate,
            lab: all || lab,
        }
    }

    fn kernels(&self) -> Vec<String> {
        if !self.kernel.is_empty() {
            return self.kernel.clone();
        }
        SERIES.iter().map(|s| s.prefix.to_owned()).collect()
    }
}

pub(crate) fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    let mut results = Results::default();
    let built = results.section("set-up and build", || {
        setup::prepare_if_needed(workspace)?;
        build::all(workspace, &build::Args::default())?;
        Ok(Tally::default())
    });
    // Without programs nothing else can run.
    if built.failed == 0 {
        run_sections(args, workspace, &mut results);
    }
    Ok(results.close())
}

fn run_sections(args: &Args, workspace: &Workspace, results: &mut Results) {
    let selection = args.selection();
    if selection.unit {
        results.section("formatting", || host::formatting(workspace));
        results.section("clippy", || host::lints(workspace));
        results.section("generated pages", || host::pages(workspace));
        results.section("deployment", || Ok(deploy::check(workspace)));
        results.section("cargo test", || host::unit(workspace));
    }
    if selection.native {
        results.section("native", || host::native(workspace));
    }
    if selection.gate || selection.lab {
        let kernels = if selection.lab { args.kernels() } else { Vec::new() };
        let plan =
            guests::Plan { gate: selection.gate, kernels: &kernels, scenarios: &args.scenario };
        results.section("guests", || {
            let mut sum = Tally::default();
            for (name, tally) in guests::run(workspace, &plan)? {
                println!("{name:<14} {tally}");
                sum += tally;
            }
            Ok(sum)
        });
    }
}

/// What each section counted.
#[derive(Debug, Default)]
struct Results {
    sections: Vec<(String, Tally, Duration)>,
}

impl Results {
    /// Runs a section; an error counts as a failure of it.
    fn section(&mut self, name: &str, run: impl FnOnce() -> Result<Tally>) -> Tally {
        println!("== {name}");
        let started = Instant::now();
        let tally = run().unwrap_or_else(|error| {
            println!("FAIL  {name}: {error:#}");
            Tally::FAILED
        });
        let elapsed = started.elapsed();
        println!("== {name}: {tally} ({})", seconds(elapsed));
        self.sections.push((name.to_owned(), tally, elapsed));
        tally
    }

    /// Prints the table and the closing line.
    fn close(&self) -> ExitCode {
        println!();
        let mut sum = Tally::default();
        for (name, tally, elapsed) in &self.sections {
            println!("  {name:<18} {tally} ({})", seconds(*elapsed));
            sum += *tally;
        }
        println!("{sum}");
        match sum.failed {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(unit: bool, native: bool, scenario: &[&str]) -> Selection {
        Args {
            kernel: Vec::new(),
            unit,
            native,
            gate: false,
            lab: false,
            scenario: scenario.iter().map(|s| (*s).to_owned()).collect(),
        }
        .selection()
    }

    #[test]
    fn nothing_selected_means_everything() {
        let all = selection(false, false, &[]);
        assert!(all.unit && all.native && all.gate && all.lab);
    }

    #[test]
    fn a_scenario_implies_the_lab_only() {
        let lab = selection(false, false, &["x"]);
        assert!(lab.lab && !lab.unit && !lab.native && !lab.gate);
    }

    #[test]
    fn an_error_in_a_section_is_a_failure() {
        let mut results = Results::default();
        let tally = results.section("x", || anyhow::bail!("no"));
        assert_eq!(tally, Tally::FAILED);
    }
}
