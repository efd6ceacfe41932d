//! `lab bench`: what watching costs, by the machine's own clock. Where that
//! clock counts instructions (`cargo xtask bench`), so do the figures.
//!
//! The same traffic runs under each watcher and under none; what a watcher adds
//! is the difference, which is left to the reader of the lines.

mod line;
mod machine;
mod row;
mod traffic;
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
    /// Row to measure; all when not given. Repeatable.
    #[arg(long = "only", value_name = "NAME")]
    only: Vec<String>,
    /// Who watches besides nobody; repeatable.
    #[arg(long = "watcher", value_enum, value_name = "NAME", default_value = "dnsprobe")]
    watchers: Vec<Kind>,
    /// File for one JSON object per measurement.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Measure each row under each watcher.
pub fn run(args: &Args, programs: &Programs) -> Result<ExitCode> {
    let rows = row::choose(&args.only)?;
    let mut lines = Lines::create(&args.out)?;
    let start = Instant::now();
    let machine = Machine::prepare()?;
    for row in &rows {
        lines.write(&Line::Row {
            row: row.name,
            about: row.about,
            unit: row.unit,
            less: row.less,
        })?;
    }
    for kind in [Kind::Nobody].iter().chain(&args.watchers) {
        let watcher = Watcher::start(*kind, programs)?;
        lines.write(&Line::Watcher { watcher: *kind, started: watcher.started() })?;
        for row in rows.iter().filter(|row| row.peers || !kind.is_peer()) {
            let rounds = measure(row, &machine, &watcher)
                .with_context(|| format!("{} with {kind} watching", row.name))?;
            println!(
                "{:6.1} s  {:<36} {:<10} {:8.1}",
                start.elapsed().as_secs_f64(),
                row.name,
                kind.to_string(),
                line::per_unit(&rounds),
            );
            lines.write(&Line::Timing { row: row.name, watcher: *kind, rounds })?;
        }
        let said = watcher.stop()?;
        lines.write(&Line::Stopped { watcher: *kind, said })?;
    }
    lines.write(&Line::End)?;
    Ok(ExitCode::SUCCESS)
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
