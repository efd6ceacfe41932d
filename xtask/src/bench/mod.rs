//! `cargo xtask bench`: what watching costs, in guest instructions, held
//! against the bars.

mod bars;
mod figures;
mod gate;
mod line;
mod load;
mod markdown;
mod page;
mod programs;
mod report;
mod run;
mod start_up;
mod user_space;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::ValueEnum;

pub(crate) use self::gate::compare;
use self::line::Watcher;
use self::report::Report;
use crate::measurement::Measurement;
use crate::setup::every_series;
use crate::vm;
use crate::workspace::Workspace;
use crate::{build, setup};

pub(crate) const MEASUREMENT: Measurement = Measurement("performance");

/// Measure what watching costs, in guest instructions
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Measure what watching costs, in guest instructions.

A guest with one processor whose clock counts instructions runs the same traffic \
with and without dnsprobe; what is added is the difference. Nothing that happens \
on this machine changes a figure, and a repetition gives the same within a tenth \
of a percent. dnsprobe runs as a monitoring daemon would: every hook attached, \
names not kept, one snapshot per second.

Besides the rows there are the sections start-up (exec to all hooks attached, \
SIGTERM to the end, guest milliseconds) and programs (dnsprobe's kernel programs: \
runs and cost per run, instructions after compilation, verified instructions, \
bytes of stack), and user-space (its process with 250 and 1,000 pods, idle and at \
10,000 queries/s: wake-ups, work, memory).

With --gate only four rows are measured, and held against xtask/bench-baseline.json: \
none may have grown by more than 3 %. `cargo xtask test` does the same. A commit that \
has to make a row dearer brings a new baseline with its reason (--accept).

A whole run also measures other tools on the same traffic, and compares the other \
kernels with 6.12; it writes docs/performance.md and docs/performance.json.

Each figure stands beside its bar. The last line is the sum; the exit code is 1 \
when a figure is over its bar or missing, or when not every hook was attached.")]
#[command(after_help = "\
Examples:
  cargo xtask bench                           everything, half an hour on two processors
  cargo xtask bench --only dns-transaction    one row, in less than a minute
  cargo xtask bench --load --kernel 6.12
  cargo xtask bench --native                  start and end on this machine's kernel
  cargo xtask bench --gate                    whether the hot path has become dearer
  cargo xtask bench --gate --accept 'a query over TCP has two more loads'
  cargo xtask bench --peers --only dns-transaction
  cargo xtask bench --kernel 5.10 --kernel 6.12 -o json")]
pub(crate) struct Args {
    /// Guest kernel, may be repeated; 6.12 when not given
    #[arg(long, value_name = "VERSION")]
    kernel: Vec<String>,

    /// Only this row or section, may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Measure what others add to the same traffic, too: empty programs on the
    /// hooks that a DNS tool needs, a bpftrace script, tcpdump
    #[arg(long)]
    peers: bool,

    /// The load ladder: dnsperf asks a real server faster and faster, without and
    /// with dnsprobe, beside 250 and 1,000 other pods; real times, no bars
    #[arg(long, conflicts_with_all = ["only", "peers", "output"])]
    load: bool,

    /// On this machine's own kernel instead (needs root): start and end, or with
    /// --load the ladder; there are no bars for it
    #[arg(long, conflicts_with_all = ["kernel", "only", "peers"])]
    native: bool,

    /// Hold four rows against the committed baseline
    #[arg(long, conflicts_with_all = ["kernel", "only", "peers", "load", "native", "output"])]
    gate: bool,

    /// With --gate: make what is measured the baseline, for this reason
    #[arg(long, value_name = "REASON", requires = "gate")]
    accept: Option<String>,

    /// What to print
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Output::Text)]
    output: Output,

    /// Run what was built before
    #[arg(long)]
    no_build: bool,
}

/// How the table is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table.
    Text,
    /// One JSON document.
    Json,
}

pub(crate) fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    if !args.no_build {
        setup::prepare_if_needed(workspace)?;
        build::all(workspace, &build::Args::default())?;
    }
    if args.gate {
        return run_gate(args.accept.as_deref(), workspace);
    }
    if args.load {
        return match args.kernel.as_slice() {
            _ if args.native => load::on_this_machine(workspace),
            [] => load::in_guest(workspace, bars::KERNEL),
            [one] => load::in_guest(workspace, one),
            _ => bail!("the ladder is of one kernel"),
        };
    }
    let whole = args.kernel.is_empty() && args.only.is_empty() && !args.native;
    let source = MEASUREMENT.source(workspace)?;
    let started = Instant::now();
    let mut kernels = Vec::new();
    if args.native {
        kernels.push(run::native(workspace));
    }
    for series in series(args, whole) {
        let kernel = vm::find_kernel(workspace, &series)?;
        let arguments = arguments(args, whole, &series);
        kernels.push(run::kernel(workspace, &series, &kernel, &arguments, started));
    }
    let report = Report::new(source, kernels, &args.only);
    if whole {
        let written = MEASUREMENT.write(workspace, whole, &report, &markdown::page(&report))?;
        eprintln!("{:.0} s; {written}", started.elapsed().as_secs_f64());
    }
    match args.output {
        Output::Text => {
            print!("{}", page::text(&report));
            println!("{report}");
        }
        Output::Json => {
            println!("{}", serde_json::to_string_pretty(&report)?);
            eprintln!("{report}");
        }
    }
    Ok(if report.right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_gate(accept: Option<&str>, workspace: &Workspace) -> Result<ExitCode> {
    if let Some(reason) = accept {
        gate::accept(workspace, reason)?;
        return Ok(ExitCode::SUCCESS);
    }
    let compared = compare(workspace)?;
    for one in &compared {
        println!("{one}");
    }
    let grown = compared.iter().filter(|one| !one.passed()).count();
    println!("bench gate: {} rows compared, {grown} over their baseline", compared.len());
    Ok(if grown == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A whole run has every kernel, the one with the bars first.
fn series(args: &Args, whole: bool) -> Vec<String> {
    let mut series = args.kernel.clone();
    if series.is_empty() && !args.native {
        series.push(bars::KERNEL.to_owned());
    }
    if whole {
        series.extend(every_series().into_iter().filter(|other| other != bars::KERNEL));
    }
    series
}

/// Arguments of `lab bench`. In a whole run the other kernels are only held
/// against the first, in what there is a bar for.
fn arguments(args: &Args, whole: bool, series: &str) -> Vec<String> {
    let compared_only = whole && series != bars::KERNEL;
    let mut only = args.only.clone();
    if compared_only {
        let compared = bars::ALL.iter().filter(|bar| bar.what.depends_on_kernel());
        only.extend(compared.map(|bar| bar.what.measured_by().to_owned()));
        only.dedup();
    }
    let mut watchers = vec![Watcher::Dnsprobe];
    if args.peers || whole && !compared_only {
        watchers.extend(Watcher::PEERS);
    }
    let only = only.into_iter().flat_map(|name| ["--only".to_owned(), name]);
    let watchers = watchers
        .into_iter()
        .flat_map(|watcher| ["--watcher".to_owned(), watcher.as_str().to_owned()]);
    only.chain(watchers).collect()
}

/// The committed page, made from the committed data.
pub(crate) fn committed_page(workspace: &Workspace) -> Result<String> {
    Ok(markdown::page(&MEASUREMENT.committed(workspace)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(kernel: &[&str], only: &[&str]) -> Args {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        Args {
            kernel: owned(kernel),
            only: owned(only),
            peers: false,
            load: false,
            native: false,
            gate: false,
            accept: None,
            output: Output::Text,
            no_build: true,
        }
    }

    #[test]
    fn a_whole_run_compares_the_other_kernels_where_there_is_a_bar() {
        let args = args(&[], &[]);
        let series = series(&args, true);
        assert_eq!(series[0], bars::KERNEL);
        assert!(series.len() > 1);
        let first = arguments(&args, true, &series[0]).join(" ");
        assert_eq!(
            first,
            "--watcher dnsprobe --watcher floor --watcher bpftrace --watcher tcpdump"
        );
        let other = arguments(&args, true, &series[1]).join(" ");
        assert!(other.starts_with("--only dns-transaction --only non-dns"), "{other}");
        assert!(other.ends_with("--only start-up --watcher dnsprobe"), "{other}");
    }

    #[test]
    fn one_row_is_measured_on_the_kernel_with_the_bars_and_nothing_else() {
        let args = args(&[], &["dns-transaction"]);
        assert_eq!(series(&args, false), [bars::KERNEL]);
        let arguments = arguments(&args, false, bars::KERNEL).join(" ");
        assert_eq!(arguments, "--only dns-transaction --watcher dnsprobe");
    }
}
