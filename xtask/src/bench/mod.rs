//! `cargo xtask bench`: what watching costs, in guest instructions, held
//! against the bars.

mod bars;
mod figures;
mod line;
mod page;
mod programs;
mod report;
mod run;
mod start_up;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum;

use self::line::Watcher;
use self::report::Report;
use crate::source::Source;
use crate::vm;
use crate::workspace::Workspace;
use crate::{build, setup};

const PAGES: &str = "docs/performance.*";

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
bytes of stack).

Each figure stands beside its bar. The last line is the sum; the exit code is 1 \
when a figure is over its bar or missing, or when not every hook was attached.")]
#[command(after_help = "\
Examples:
  cargo xtask bench                           every row, on Linux 6.12
  cargo xtask bench --only dns-transaction    one row, in less than a minute
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
    let series = match args.kernel.as_slice() {
        [] => vec![vm::DEFAULT_KERNEL.to_owned()],
        chosen => chosen.to_vec(),
    };
    let mut arguments = Vec::new();
    for name in &args.only {
        arguments.extend(["--only".to_owned(), name.clone()]);
    }
    let mut watchers = vec![Watcher::Dnsprobe];
    if args.peers {
        watchers.extend(Watcher::PEERS);
    }
    for watcher in watchers {
        arguments.extend(["--watcher".to_owned(), watcher.as_str().to_owned()]);
    }
    let started = Instant::now();
    let mut kernels = Vec::new();
    for series in &series {
        let kernel = vm::find_kernel(workspace, series)?;
        kernels.push(run::kernel(workspace, series, &kernel, &arguments, started));
    }
    let report = Report::new(Source::of(workspace, PAGES)?, kernels, &args.only);
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
