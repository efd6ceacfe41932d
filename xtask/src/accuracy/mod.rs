//! `cargo xtask accuracy`: every scenario on every kernel, as a table; and the
//! clean run, in which there is nothing to find.

mod clean;
mod page;
mod report;
mod result;
mod run;

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use self::report::Report;
use self::run::Column;
use crate::measurement::Measurement;
use crate::setup::every_series;
use crate::workspace::Workspace;
use crate::{build, setup, shell};

pub(crate) const MEASUREMENT: Measurement = Measurement("accuracy");

/// Run every scenario on every kernel and print how right dnsprobe was
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Run every scenario on every kernel and print how right dnsprobe was.

Each scenario of the lab causes a real fault on each guest kernel; a cell of the \
table is right when every lost query has exactly one verdict with the right cause \
on the right pod, nothing else has one, and all counts are the clients' own. The \
guests count instructions, so that a busy machine changes nothing, and run two at \
a time; a guest that dies is started once more for what it still owes. The last \
line is the sum. A run of all scenarios replaces its kernels' columns in \
docs/accuracy.md and docs/accuracy.json, each of which says of which commit it is; \
one of chosen scenarios writes the same files below target/accuracy. With --missing \
only what has no right result there is run, and put in; such a cell says of which \
commit it is. The exit code is 1 when a cell of the table is wrong or has no result.

With --clean nothing is wrong: clients ask for long, dnsprobe must count every \
query and find nothing.")]
#[command(after_help = "\
Examples:
  cargo xtask accuracy                         everything, half an hour or more
  cargo xtask accuracy --missing               what the table lacks, after a new scenario
  cargo xtask accuracy --kernel 7.3 --scenario policy-drop
  cargo xtask accuracy --clean                 an hour at 500 queries/s, in a guest
  cargo xtask accuracy --clean --native --minutes 5")]
pub(crate) struct Args {
    /// Guest kernel, may be repeated; all known ones when not given
    #[arg(long, value_name = "VERSION")]
    kernel: Vec<String>,

    /// Only this scenario, may be repeated
    #[arg(long, value_name = "NAME", conflicts_with = "clean")]
    scenario: Vec<String>,

    /// Only what has no right result in docs/accuracy.json, and put it in there
    #[arg(long, conflicts_with_all = ["scenario", "clean", "resume"])]
    missing: bool,

    /// What to print
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Output::Text)]
    output: Output,

    /// Nothing is wrong, and dnsprobe must find nothing
    #[arg(long)]
    clean: bool,

    #[command(flatten)]
    traffic: clean::Traffic,

    /// Keep the results that an earlier run left: a whole column as that run's,
    /// a part of one when it was of the same commit
    #[arg(long = "continue")]
    resume: bool,

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
    let started = Instant::now();
    if !args.no_build {
        setup::prepare_if_needed(workspace)?;
        build::all(workspace, &build::Args::default())?;
    }
    if args.clean {
        return clean::run(&args.traffic, &args.kernel, workspace, started);
    }
    let series = if args.kernel.is_empty() { every_series() } else { args.kernel.clone() };
    let names = scenario_names(workspace, &args.scenario)?;
    let source = MEASUREMENT.source(workspace)?;
    let earlier: Option<Report> = match MEASUREMENT.is_committed(workspace) {
        true => Some(MEASUREMENT.committed(workspace)?),
        false => None,
    };
    let columns: Vec<Column> = series
        .into_iter()
        .map(|series| Column {
            names: match &earlier {
                Some(earlier) if args.missing => earlier.missing(&series, &names),
                _ => names.clone(),
            },
            series,
        })
        .filter(|column| !column.names.is_empty())
        .collect();
    let (kernels, scenarios, cells) =
        run::all(workspace, &columns, &names, &source, args.resume, started)?;
    let mut report = Report::new(kernels, scenarios, cells);
    if let Some(earlier) = earlier.filter(|_| args.scenario.is_empty()) {
        report = if args.missing {
            report.put_into(earlier, &every_series())
        } else {
            report.with_others_of(earlier, &every_series())
        };
    }
    let is_whole = args.scenario.is_empty();
    let written = MEASUREMENT.write(workspace, is_whole, &report, &page::markdown(&report))?;
    match args.output {
        Output::Text => print!("{}", page::text(&report)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    eprintln!("{:.0} s; {written}", started.elapsed().as_secs_f64());
    match args.output {
        Output::Text => println!("{}", report.summary),
        Output::Json => eprintln!("{}", report.summary),
    }
    Ok(if report.right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The committed page, made from the committed data: the two must belong
/// together.
pub(crate) fn committed_page(workspace: &Workspace) -> Result<String> {
    Ok(page::markdown(&MEASUREMENT.committed(workspace)?))
}

/// The scenarios to run: all of the lab, or those chosen.
pub(crate) fn scenario_names(workspace: &Workspace, chosen: &[String]) -> Result<Vec<String>> {
    let lab = workspace.release_binary("lab");
    let mut command = Command::new(lab);
    command.args(["list", "--names"]);
    let all: Vec<String> = shell::output(&mut command)?.lines().map(str::to_owned).collect();
    for name in chosen {
        ensure!(all.contains(name), "there is no scenario {name}; `lab list` shows them");
    }
    Ok(if chosen.is_empty() { all } else { chosen.to_vec() })
}
