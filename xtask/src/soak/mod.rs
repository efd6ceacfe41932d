//! `cargo xtask soak`: dnsprobe left on under load, in a guest.

mod page;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::lab_guest::LabGuest;
use crate::measurement::{Measurement, lab_result};
use crate::source::Source;
use crate::workspace::Workspace;
use crate::{build, setup, vm};

pub(crate) const MEASUREMENT: Measurement = Measurement("operations");

/// Leave `dnsprobe serve` on under load, and see whether it grows or is noticed
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Leave `dnsprobe serve` on under load, and see whether it grows or is noticed.

In a guest with two processors, two pods ask real DNS servers as often as told, 50 \
other pods ask too, and five of these are replaced four times a second: first without dnsprobe, \
then for as long as told with it, then without it again. dnsprobe's memory must be \
flat after warm-up, its counts the clients' own, no event lost; the clients must \
lose no more and wait no longer than without it. Times are real ones, so nothing \
else should run on the machine. The last line is the sum. A run of ten minutes or more \
writes docs/operations.md and docs/operations.json; a shorter one writes them below \
target/operations. The exit code is 1 when something is not as it must be.")]
#[command(after_help = "\
Examples:
  cargo xtask soak                              half an hour with dnsprobe, ten minutes without
  cargo xtask soak --minutes 2 --rate 500")]
pub(crate) struct Args {
    /// Guest kernel
    #[arg(long, value_name = "VERSION", default_value = vm::DEFAULT_KERNEL)]
    kernel: String,

    /// How long dnsprobe watches
    #[arg(long, value_name = "N", default_value_t = 30)]
    minutes: u64,

    /// Queries per second, of both clients together; the default is about what an
    /// emulated guest carries beside pods that come and go: with more, waiting for the
    /// processor is all that the clients measure
    #[arg(long, value_name = "N", default_value_t = 500)]
    rate: u32,

    /// Run what was built before
    #[arg(long)]
    no_build: bool,
}

/// From this many minutes on a run is written into the pages.
const LONG: u64 = 10;
/// What booting, and the phases without dnsprobe, may take besides.
const AROUND: Duration = Duration::from_secs(20 * 60);

/// What `lab soak` wrote (`tests/src/command/soak/verdict.rs`).
#[derive(Debug, Serialize, Deserialize)]
struct Soak {
    kernel: String,
    rate: u32,
    seconds: u64,
    pods_gone: u32,
    before: Asked,
    with: Asked,
    after: Asked,
    counted: Counted,
    samples: Vec<Sample>,
    problems: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    asked: u64,
    lost: u64,
    p50_seconds: f64,
    p99_seconds: f64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Counted {
    queries: u64,
    answered: u64,
    lost: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sample {
    seconds: f64,
    resident_bytes: f64,
    processor_seconds: f64,
    lost_events: f64,
    not_kept: f64,
    missed_runs: f64,
}

/// The committed data.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    source: Source,
    #[serde(flatten)]
    soak: Soak,
}

pub(crate) fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    let started = Instant::now();
    if !args.no_build {
        setup::prepare_if_needed(workspace)?;
        build::all(workspace, &build::Args::default())?;
    }
    let source = MEASUREMENT.source(workspace)?;
    let (rate, seconds) = (args.rate.to_string(), args.minutes * 60);
    let seconds_argument = seconds.to_string();
    let arguments = ["soak", "--out", "/out", "--rate", &rate, "--seconds", &seconds_argument];
    let guest = LabGuest {
        label: args.kernel.clone(),
        kernel: vm::find_kernel(workspace, &args.kernel)?,
        // Half an hour of instructions at this load is much longer.
        exact_clock: false,
        limit: Duration::from_secs(2 * seconds) + AROUND,
        arguments: arguments.map(str::to_owned).to_vec(),
        out: workspace.target().join("operations/lab"),
    };
    let soak: Soak = lab_result(workspace, &guest, "soak.json", started)?;
    let report = Report { source, soak };
    let is_whole = args.minutes >= LONG;
    let written = MEASUREMENT.write(workspace, is_whole, &report, &page::markdown(&report))?;
    eprintln!("{:.0} s; {written}", started.elapsed().as_secs_f64());
    println!("{}", page::summary(&report.soak));
    Ok(if report.soak.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The committed page, made from the committed data.
pub(crate) fn committed_page(workspace: &Workspace) -> Result<String> {
    Ok(page::markdown(&MEASUREMENT.committed(workspace)?))
}
