//! `dnsprobe top`: the per-pod table.

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Args;

use super::{
    EXIT_OK, Format, WatchOptions,
    watch::{self, Detail, Handler},
};
use crate::{
    engine::{Retry, Transaction, Verdict},
    output::{Terminal, json, table::Top, verdicts::Report},
    stats::Snapshot,
};

/// Per-pod DNS table: rates, latency, losses by cause; refreshed in place.
///
/// Counts everything inside the kernel and reads it once per interval; only
/// failures are reported one by one.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  dnsprobe top                            refresh every second until Ctrl-C
  dnsprobe top --interval 10s -o json     one snapshot per line and 10 seconds
  dnsprobe top --duration 1m --lost-after 2s
  dnsprobe top --ports 53,5353
  dnsprobe top --without-names --interval 10s -o json    for watching all the time")]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) watch: WatchOptions,
    /// Time between two tables.
    #[arg(long, value_parser = super::positive_duration, default_value = "1s", value_name = "TIME")]
    interval: Duration,
    /// Do not keep what is asked for; costs less per query.
    ///
    /// Lost queries are then reported without their name and command, and a
    /// clash without the other query. The queries of a resolver that was content
    /// with another server's answer count as lost.
    #[arg(long)]
    without_names: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<u8> {
    let mut handler: Box<dyn Handler> = match options.watch.output {
        Format::Json => Box::new(Json { transactions: false }),
        Format::Table => Box::new(Table {
            top: Top::new(&options.watch.node_name(), options.watch.ports.clone()),
            report: Report::new(),
            terminal: Terminal::of_stdout(),
        }),
    };
    let detail = if options.without_names { Detail::Counts } else { Detail::Names };
    watch::run(&options.watch, detail, Some(options.interval), handler.as_mut())?;
    Ok(EXIT_OK)
}

struct Table {
    top: Top,
    report: Report,
    terminal: Terminal,
}

impl Handler for Table {
    fn transaction(&mut self, _: &Transaction) -> anyhow::Result<()> {
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        self.top.verdict(verdict);
        self.report.add(verdict);
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &Snapshot, last: bool) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if last {
            out.write_all(self.top.last_frame(snapshot, &self.terminal).as_bytes())?;
            writeln!(out, "{}", self.report.render(&self.terminal))?;
        } else {
            out.write_all(self.top.frame(snapshot, &self.terminal).as_bytes())?;
        }
        Ok(out.flush()?)
    }
}

/// One object per line; shared with `trace`.
pub(super) struct Json {
    /// Whether answered queries are printed too.
    pub(super) transactions: bool,
}

impl Handler for Json {
    fn transaction(&mut self, transaction: &Transaction) -> anyhow::Result<()> {
        if self.transactions {
            json::write(json::Record::Transaction(transaction), &mut io::stdout().lock())?;
        }
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        Ok(json::write(json::Record::Verdict(verdict), &mut io::stdout().lock())?)
    }

    fn retry(&mut self, retry: &Retry) -> anyhow::Result<()> {
        if self.transactions {
            json::write(json::Record::Retry(retry), &mut io::stdout().lock())?;
        }
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &Snapshot, _: bool) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        json::write(json::Record::Snapshot(snapshot), &mut out)?;
        Ok(out.flush()?)
    }
}
