//! `lab bench`: what watching costs, by the machine's own clock. Where that
//! clock counts instructions (`cargo xtask bench`), so do the figures.
//!
//! The same traffic runs under each watcher and under none; what a watcher adds
//! is the difference, which is left to the reader of the lines.

mod kernel_programs;
mod line;
mod machine;
mod programs;
mod row;
mod start_up;
mod traffic;
mod user_space;
mod watcher;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::line::{Line, Lines, Round};
use self::machine::Machine;
use self::row::{Row, Sampling};
use self::traffic::Traffic;
use self::watcher::{Kind, Watcher};
use crate::lab::Programs;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Row or section to measure; all when not given. Repeatable.
    #[arg(long = "only", value_name = "NAME")]
    only: Vec<String>,
    /// Who watches besides nobody; repeatable.
    #[arg(long = "watcher", value_enum, value_name = "NAME", default_value = "dnsprobe")]
    watchers: Vec<Kind>,
    /// On the machine's own kernel, which is left as it is: only start-up.
    #[arg(long, conflicts_with = "only")]
    native: bool,
    /// File for one JSON object per measurement.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// What is measured apart from the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    /// How long attaching and detaching take.
    StartUp,
    /// What each kernel program is and costs.
    Programs,
    /// What its own process uses.
    UserSpace,
}

impl Section {
    const ALL: [Self; 3] = [Self::StartUp, Self::Programs, Self::UserSpace];

    const fn as_str(self) -> &'static str {
        match self {
            Self::StartUp => "start-up",
            Self::Programs => "programs",
            Self::UserSpace => "user-space",
        }
    }
}

/// Measure each row under each watcher, then the sections.
pub fn run(args: &Args, programs: &Programs) -> Result<ExitCode> {
    let mut lines = Lines::create(&args.out)?;
    if args.native {
        start_up::measure(programs, &mut lines)?;
        lines.write(&Line::End)?;
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = |section: &Section| {
        args.only.is_empty() || args.only.iter().any(|name| name == section.as_str())
    };
    let sections: Vec<Section> = Section::ALL.into_iter().filter(chosen).collect();
    let is_row = |name: &&String| Section::ALL.iter().all(|section| section.as_str() != *name);
    let names: Vec<String> = args.only.iter().filter(is_row).cloned().collect();
    let rows = match (args.only.is_empty(), names.is_empty()) {
        (false, true) => Vec::new(),
        _ => row::choose(&names)?,
    };
    let machine = Machine::prepare()?;
    time_rows(&rows, &args.watchers, &machine, programs, &mut lines)?;
    for section in sections {
        println!("          {}", section.as_str());
        match section {
            Section::StartUp => start_up::measure(programs, &mut lines)?,
            Section::UserSpace => user_space::measure(&machine, programs, &mut lines)?,
            Section::Programs => {
                let directory = args.out.parent().context("--out is in no directory")?;
                programs::measure(&machine, programs, directory, &mut lines)?;
            }
        }
    }
    lines.write(&Line::End)?;
    Ok(ExitCode::SUCCESS)
}

fn time_rows(
    rows: &[&Row],
    watchers: &[Kind],
    machine: &Machine,
    programs: &Programs,
    lines: &mut Lines,
) -> Result<()> {
    let start = Instant::now();
    for row in rows {
        let Row { name, about, unit, less, .. } = row;
        lines.write(&Line::Row { row: name, about, unit, less: *less })?;
    }
    for kind in [Kind::Nobody].iter().chain(watchers).filter(|_| !rows.is_empty()) {
        let watcher = Watcher::start(*kind, programs)?;
        lines.write(&Line::Watcher { watcher: *kind, started: watcher.started() })?;
        for row in rows.iter().filter(|row| row.peers || !kind.is_peer()) {
            let rounds = measure(row, machine, &watcher)
                .with_context(|| format!("{} with {kind} watching", row.name))?;
            println!(
                "{:6.1} s  {:<38} {:<10} {:8.1}",
                start.elapsed().as_secs_f64(),
                row.name,
                kind.to_string(),
                line::per_unit(&rounds),
            );
            lines.write(&Line::Timing { row: row.name, watcher: *kind, rounds })?;
        }
        let measured = |row: &&&Row| row.is_dns && (row.peers || !kind.is_peer());
        let said = watcher.stop(rows.iter().find(measured).is_some())?;
        lines.write(&Line::Stopped { watcher: *kind, said })?;
    }
    Ok(())
}

/// The rounds of one row.
fn measure(row: &Row, machine: &Machine, watcher: &Watcher) -> Result<Vec<Round>> {
    let _netfilter = machine.netfilter(row.netfilter)?;
    let mut traffic = (row.traffic)()?;
    for _ in 0..row.sampling.warm_up {
        traffic.once()?;
    }
    (0..Sampling::ROUNDS).map(|_| round(traffic.as_mut(), &row.sampling, watcher)).collect()
}

/// Traffic until the round is long enough, and who took how much time.
fn round(traffic: &mut dyn Traffic, sampling: &Sampling, watcher: &Watcher) -> Result<Round> {
    /// Repetitions between two looks at the clock.
    const BATCH: u64 = 100;
    let watcher_before = watcher.processor_time()?;
    let start = Instant::now();
    let mut units = 0;
    let elapsed = loop {
        for _ in 0..BATCH {
            traffic.once()?;
        }
        units += BATCH * traffic.units();
        let elapsed = start.elapsed();
        if sampling.is_enough(units, elapsed) {
            break elapsed;
        }
    };
    let watcher_time = watcher.processor_time()?.saturating_sub(watcher_before);
    Ok(Round { units, elapsed_ns: nanoseconds(elapsed), watcher_ns: nanoseconds(watcher_time) })
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
