//! `cargo xtask evidence`: whether a ticket alone, without the machine, lets a
//! reader name the cause.

mod bundle;
mod derive;
mod page;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use self::bundle::LabResult;
use crate::lab_guest::{LabGuest, Lines};
use crate::measurement::Measurement;
use crate::source::Source;
use crate::vm::{self, DEFAULT_KERNEL, End};
use crate::workspace::Workspace;
use crate::{accuracy, build, setup};

pub(crate) const MEASUREMENT: Measurement = Measurement("evidence");
const RECORDED: &str = "recorded.json";
const LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

/// Make a ticket of every fault of the lab, and name the causes from the tickets alone
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Make a ticket of every fault of the lab, and name the causes from the tickets alone.

The lab runs in a guest and records; what replays from each recording must be what \
was printed live. Of each recording a ticket is made, its checksums are checked, \
and the cause of every lost query is named anew from the ticket's evidence, \
without its verdict. It has to be the cause that the lab brought about, for the \
right pod. The tickets stay in target/evidence. A run of all scenarios replaces \
docs/evidence.md; the last line is the sum. The exit code is 1 on any miss.")]
#[command(after_help = "\
Examples:
  cargo xtask evidence
  cargo xtask evidence --scenario conntrack-clash --scenario policy-drop
  cargo xtask evidence --again")]
pub(crate) struct Args {
    /// Guest kernel
    #[arg(long, value_name = "VERSION", default_value = DEFAULT_KERNEL)]
    kernel: String,

    /// Only this scenario, may be repeated
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,

    /// Run what was built before
    #[arg(long)]
    no_build: bool,

    /// Start no guest: make the tickets anew from the recordings that the last run left
    #[arg(long)]
    again: bool,
}

/// What the recordings are of; beside them.
#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    kernel: String,
    source: Source,
}

/// What came of it all.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    kernel: String,
    source: Source,
    rows: Vec<Row>,
}

/// One scenario.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    scenario: String,
    about: String,
    skipped: Option<String>,
    misses: Vec<String>,
}

impl Report {
    fn right(&self) -> bool {
        let made = self.rows.iter().any(|row| row.skipped.is_none());
        made && self.rows.iter().all(|row| row.misses.is_empty())
    }

    fn summary(&self) -> String {
        let skipped = self.rows.iter().filter(|row| row.skipped.is_some()).count();
        let missed = self.rows.iter().filter(|row| !row.misses.is_empty()).count();
        let made = self.rows.len() - skipped;
        format!("{} of {made} tickets tell the cause, {skipped} not made", made - missed)
    }
}

pub(crate) fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    if !args.no_build {
        setup::prepare_if_needed(workspace)?;
        build::all(workspace, &build::Args::default())?;
    }
    let names = accuracy::scenario_names(workspace, &args.scenario)?;
    let directory = workspace.target().join("evidence");
    let (recordings, tickets) = (directory.join("lab"), directory.join("tickets"));
    if !args.again {
        record(args, workspace, &names, &directory, &recordings)?;
    }
    let text = fs::read_to_string(directory.join(RECORDED)).context("there are no recordings")?;
    let Recorded { kernel, source } = serde_json::from_str(&text).context(RECORDED)?;
    if tickets.exists() {
        fs::remove_dir_all(&tickets)?;
    }
    fs::create_dir_all(&tickets)?;
    let rows = names.iter().map(|name| row(workspace, &recordings, name, &tickets.join(name)));
    let rows = rows.filter_map(Result::transpose).collect::<Result<Vec<Row>>>()?;
    let report = Report { kernel, source, rows };
    for row in report.rows.iter().filter(|row| !row.misses.is_empty()) {
        println!("MISS  {}: {}", row.scenario, row.misses.join("; "));
    }
    let is_whole = args.scenario.is_empty();
    let written = MEASUREMENT.write(workspace, is_whole, &report, &page::markdown(&report))?;
    eprintln!("{written}");
    println!("{}", report.summary());
    Ok(if report.right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the lab with a recorder.
fn record(
    args: &Args,
    workspace: &Workspace,
    names: &[String],
    directory: &Path,
    recordings: &Path,
) -> Result<()> {
    let source = MEASUREMENT.source(workspace)?;
    let kernel = vm::find_kernel(workspace, &args.kernel)?;
    let recorded = Recorded { kernel: kernel.release.clone(), source };
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    let mut arguments: Vec<String> =
        ["run", "--exact-clock", "--record", "--out", "/out"].map(str::to_owned).to_vec();
    for name in names {
        arguments.extend(["--scenario".to_owned(), name.clone()]);
    }
    let started = Instant::now();
    let guest = LabGuest {
        label: args.kernel.clone(),
        kernel,
        exact_clock: true,
        limit: LIMIT,
        arguments,
        out: recordings.to_owned(),
    };
    let ended = guest.run(workspace, Lines::err(started), &Arc::new(Mutex::new(Vec::new())))?;
    ended.explain(workspace, started.elapsed());
    ensure!(matches!(ended.end, End::Exited(_)), "the guest did not come to its end");
    let file = directory.join(RECORDED);
    fs::write(&file, serde_json::to_string_pretty(&recorded)? + "\n")
        .with_context(|| format!("cannot write {}", file.display()))
}

/// `None` for a scenario in which nothing is wrong.
fn row(workspace: &Workspace, lab: &Path, name: &str, ticket: &Path) -> Result<Option<Row>> {
    let result = LabResult::read(&lab.join(format!("{name}.result.json")))?;
    let recorded = lab.join(format!("{name}.rec")).exists();
    let mut row = Row {
        scenario: name.to_owned(),
        about: result.about.clone(),
        skipped: result.skipped.clone(),
        misses: Vec::new(),
    };
    if row.skipped.is_none() && !result.is_fault() {
        return Ok(None);
    }
    if row.skipped.is_none() && !recorded {
        row.skipped = Some("it watches in a way of its own and records nothing".to_owned());
    }
    if row.skipped.is_none() {
        let dnsprobe = workspace.release_binary("dnsprobe");
        row.misses = bundle::misses(&dnsprobe, lab, name, &result, ticket)
            .unwrap_or_else(|error| vec![format!("{error:#}")]);
    }
    Ok(Some(row))
}

/// The committed page, made from the committed data.
pub(crate) fn committed_page(workspace: &Workspace) -> Result<String> {
    Ok(page::markdown(&MEASUREMENT.committed(workspace)?))
}
