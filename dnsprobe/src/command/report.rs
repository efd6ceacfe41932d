//! `dnsprobe report`: one page about the time watched.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::{
    EXIT_FOUND, EXIT_OK, WatchOptions,
    beside::Beside,
    diagnose::{self, Examination},
    playback::{self, Prints},
    replay,
    watch::{self, Detail, Handler},
};
use crate::{
    engine::{Retry, Transaction, Verdict},
    kernel,
    output::{json, page},
    report::{Collector, Origin, QueryId},
    stats::Snapshot,
};

/// Watching time when none is given.
const DURATION: Duration = Duration::from_secs(30);
/// The length of the first slices.
const SLICE: Duration = Duration::from_secs(1);

/// Make one page of the time watched: latency and losses over time, per pod and
/// per backend, one lost query step by step, and all that `diagnose` finds.
///
/// Watches for 30 seconds, or reads a recording. The page is one HTML file that
/// needs no other file, no network and no script; it can be printed, and read by
/// a screen reader. `-o json` has the same for machines.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exit codes: 0 no fault was found; 1 one was; 2 no report could be made.

Examples:
  dnsprobe report -w dns.html
  dnsprobe report --from node.rec -w dns.html
  dnsprobe report --from node.rec --query 10.244.0.11:40000/4660 -w dns.html
  dnsprobe report --duration 5m --pod shop/cart-0 -o json | jq '.backends[]'")]
pub(super) struct Options {
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// The file to write; stdout when not given.
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Take everything from this recording instead of watching.
    #[arg(long, value_name = "FILE")]
    pub(super) from: Option<PathBuf>,
    /// The lost query to draw, by its DNS id or ADDRESS:PORT/ID; the first of
    /// the costliest cause when not given.
    #[arg(long, value_name = "ID")]
    query: Option<QueryId>,
    #[command(flatten)]
    pub(super) watch: WatchOptions,
    #[command(flatten)]
    scope: diagnose::Scope,
}

/// Output format of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One page that needs no other file.
    #[default]
    Html,
    /// One JSON object (docs/json.md).
    Json,
}

pub(super) fn run(options: &Options) -> anyhow::Result<u8> {
    let mut watch = options.watch.clone();
    if let Some(file) = &options.from {
        replay::open(file)?.replaces(&mut watch, Prints::AtItsEnd)?;
    }
    let live = watch.replay.is_none();
    watch.duration = watch.duration.or(live.then_some(DURATION));
    let progress = watch.duration.filter(|_| live && io::stderr().is_terminal());
    let mut examination = Examination::new(options.scope.findings(), progress);
    let mut slices = Sliced(Collector::new(options.scope.wanted(), options.query));
    let origin = take_in(&watch, &mut Beside(&mut examination, &mut slices))?;
    let report = slices.0.finish(origin, examination.diagnosis()?)?;
    let bytes = match options.output {
        Format::Html => page::render(&report).into_bytes(),
        Format::Json => {
            let mut line = Vec::new();
            json::write(json::Record::Report(&report), &mut line)?;
            line
        }
    };
    match &options.write {
        Some(file) => {
            fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
        }
        None => io::stdout().lock().write_all(&bytes)?,
    }
    Ok(if report.diagnosis.fault { EXIT_FOUND } else { EXIT_OK })
}

/// Watches, or runs through the recording; says which it was.
fn take_in(watch: &WatchOptions, handler: &mut dyn Handler) -> anyhow::Result<Origin> {
    if let Some(recorded) = &watch.replay {
        let aside = playback::run(recorded, watch.duration, Some(SLICE), handler)?;
        return Ok(Origin {
            node: aside.header.node,
            kernel: aside.header.kernel,
            dnsprobe: aside.header.dnsprobe,
            lost_after_seconds: Duration::from_nanos(aside.header.lost_after_ns).as_secs_f64(),
            recording_damage: aside.damage.describe(),
            transactions: aside.header.transactions,
        });
    }
    watch::run(watch, Detail::Transactions, Some(SLICE), handler)?;
    Ok(Origin {
        node: watch.node_name(),
        kernel: kernel::release(),
        dnsprobe: env!("CARGO_PKG_VERSION").to_owned(),
        lost_after_seconds: watch.traffic.lost_after.as_secs_f64(),
        recording_damage: None,
        transactions: true,
    })
}

/// Hands everything to the report.
struct Sliced(Collector);

impl Handler for Sliced {
    fn transaction(&mut self, transaction: &Transaction) -> anyhow::Result<()> {
        self.0.transaction(transaction);
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        self.0.verdict(verdict);
        Ok(())
    }

    fn retry(&mut self, retry: &Retry) -> anyhow::Result<()> {
        self.0.retry(retry);
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &Arc<Snapshot>, last: bool) -> anyhow::Result<()> {
        self.0.snapshot(snapshot, last);
        Ok(())
    }
}
