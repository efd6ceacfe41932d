//! `cargo xtask attribution`: does every query have the right owner, in a guest
//! with cgroups and namespaces as a node has them?

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

pub(crate) const MEASUREMENT: Measurement = Measurement("attribution");
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// Compare whom dnsprobe holds every query for with who asked it
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Compare whom dnsprobe holds every query for with who asked it.

In a guest, clients in pods ask for names that say who they are; every query that \
dnsprobe tells of, answered or lost, is compared with that: pod and container, both \
by name. The pods are real cgroups, network namespaces and processes in the layout \
of the kubelet and containerd. Each check has a bar: all right, or for pods that \
live for 200 ms 99.9 % right, and never a wrong owner. The last line is the sum. A \
run as it is by default writes docs/attribution.md and docs/attribution.json; one of \
another size writes them below target/attribution. The exit code is 1 when a bar is \
missed.")]
#[command(after_help = "\
Examples:
  cargo xtask attribution                        everything
  cargo xtask attribution --kernel 5.10 --short-lived 100 --pods 50")]
pub(crate) struct Args {
    /// Guest kernel
    #[arg(long, value_name = "VERSION", default_value = vm::DEFAULT_KERNEL)]
    kernel: String,

    /// Pods that live for 200 ms, 50 new ones each second
    #[arg(long, value_name = "N", default_value_t = SHORT_LIVED)]
    short_lived: u32,

    /// Pods at once
    #[arg(long, value_name = "N", default_value_t = PODS)]
    pods: u32,

    /// Run what was built before
    #[arg(long)]
    no_build: bool,
}

const SHORT_LIVED: u32 = 1000;
const PODS: u32 = 500;

/// What `lab attribution` wrote.
#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    kernel: String,
    checks: Vec<Check>,
    lost_events: u64,
    right: bool,
    summary: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Check {
    name: String,
    about: String,
    bar: String,
    queries: u64,
    right: u64,
    wrong: u64,
    unattributed: u64,
    unnamed: u64,
    missing: u64,
    lost: u64,
    note: String,
    passed: bool,
    examples: Vec<String>,
}

/// The committed data.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    source: Source,
    #[serde(flatten)]
    measured: Measured,
}

pub(crate) fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    let started = Instant::now();
    if !args.no_build {
        setup::prepare_if_needed(workspace)?;
        build::all(workspace, &build::Args::default())?;
    }
    let source = MEASUREMENT.source(workspace)?;
    let (short_lived, pods) = (args.short_lived.to_string(), args.pods.to_string());
    let arguments =
        ["attribution", "--out", "/out", "--short-lived", &short_lived, "--pods", &pods];
    let guest = LabGuest {
        label: args.kernel.clone(),
        kernel: vm::find_kernel(workspace, &args.kernel)?,
        exact_clock: true,
        limit: LIMIT,
        arguments: arguments.map(str::to_owned).to_vec(),
        out: workspace.target().join("attribution/lab"),
    };
    let measured: Measured = lab_result(workspace, &guest, "attribution.json", started)?;
    let report = Report { source, measured };
    let is_whole = args.short_lived == SHORT_LIVED && args.pods == PODS;
    let written = MEASUREMENT.write(workspace, is_whole, &report, &page::markdown(&report))?;
    eprintln!("{:.0} s; {written}", started.elapsed().as_secs_f64());
    println!("{}", report.measured.summary);
    Ok(if report.measured.right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The committed page, made from the committed data.
pub(crate) fn committed_page(workspace: &Workspace) -> Result<String> {
    Ok(page::markdown(&MEASUREMENT.committed(workspace)?))
}
