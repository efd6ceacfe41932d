//! `dnsprobe trace`: one line per transaction.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};

use super::{
    EXIT_OK, WatchOptions,
    filter::{QueryFilter, parse_rcode_argument},
    top::Json,
    watch::{self, Detail, Handler},
};
use crate::{
    engine::{Retry, Transaction, Verdict},
    output::{Terminal, coredns, trace, verdicts::Report},
    stats::Snapshot,
};

/// One line per DNS transaction: who, what, from whom, how long, or why not.
///
/// Filters add up: a line is shown when all of them fit.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  dnsprobe trace                                   everything
  dnsprobe trace --only-failed                     lost queries and near misses
  dnsprobe trace --namespace shop --slower-than 100ms
  dnsprobe trace --name cluster.local --rcode NXDOMAIN -o json
  dnsprobe trace -o coredns                        the query log of the DNS servers here")]
pub(super) struct Options {
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: TraceFormat,
    #[command(flatten)]
    pub(super) watch: WatchOptions,
    #[command(flatten)]
    filter: Filter,
}

/// Output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum TraceFormat {
    /// Text for people.
    #[default]
    Table,
    /// One JSON object per line (docs/json.md).
    Json,
    /// For each query that a DNS server here answered, the line that CoreDNS's
    /// `log` plugin writes (docs/coredns-log.md). What was not seen is `-`.
    Coredns,
}

/// What is shown.
#[derive(Clone, Debug, Default, Args)]
struct Filter {
    #[command(flatten)]
    query: QueryFilter,
    /// Only answers with this response code (NXDOMAIN, 3, ...).
    #[arg(long, value_parser = parse_rcode_argument, value_name = "RCODE")]
    rcode: Option<u8>,
    /// Only answers that took longer.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    slower_than: Option<Duration>,
    /// Only lost queries and near misses.
    #[arg(long)]
    only_failed: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<u8> {
    let inner: Box<dyn Handler> = match options.output {
        TraceFormat::Json => Box::new(Json { transactions: true }),
        TraceFormat::Coredns => {
            Box::new(ServerLog { shown: false, filtered: options.filter.is_set() })
        }
        TraceFormat::Table => Box::new(Lines {
            terminal: Terminal::of_stdout(),
            report: Report::new(),
            shown: false,
            filtered: options.filter.is_set(),
        }),
    };
    let mut handler = Filtered { filter: options.filter.clone(), inner };
    watch::run(&options.watch, Detail::Transactions, None, &mut handler)?;
    Ok(EXIT_OK)
}

impl Filter {
    fn is_set(&self) -> bool {
        self.query.is_set()
            || self.rcode.is_some()
            || self.slower_than.is_some()
            || self.only_failed
    }

    fn fits_transaction(&self, transaction: &Transaction) -> bool {
        !self.only_failed
            && self.query.fits(&transaction.owner, &transaction.query)
            && self.rcode.is_none_or(|rcode| transaction.rcode == Some(rcode))
            && self
                .slower_than
                .is_none_or(|limit| transaction.latency_seconds > limit.as_secs_f64())
    }

    /// A lost query took longer than any limit, and has no response code.
    fn fits_verdict(&self, verdict: &Verdict) -> bool {
        self.query.fits(&verdict.owner, &verdict.query)
            && self.rcode.is_none()
            && (self.slower_than.is_none() || verdict.loss)
    }

    /// The look-up as a whole took its time and had an answer; what failed in
    /// it has a line of its own.
    fn fits_retry(&self, retry: &Retry) -> bool {
        self.query.fits(&retry.owner, &retry.query)
            && self.rcode.is_none()
            && self.slower_than.is_none_or(|limit| retry.lookup_seconds > limit.as_secs_f64())
    }
}

struct Filtered {
    filter: Filter,
    inner: Box<dyn Handler>,
}

impl Handler for Filtered {
    fn transaction(&mut self, transaction: &Transaction) -> anyhow::Result<()> {
        if self.filter.fits_transaction(transaction) {
            self.inner.transaction(transaction)?;
        }
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        if self.filter.fits_verdict(verdict) {
            self.inner.verdict(verdict)?;
        }
        Ok(())
    }

    fn retry(&mut self, retry: &Retry) -> anyhow::Result<()> {
        if self.filter.fits_retry(retry) {
            self.inner.retry(retry)?;
        }
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &Arc<Snapshot>, last: bool) -> anyhow::Result<()> {
        self.inner.snapshot(snapshot, last)
    }
}

struct Lines {
    terminal: Terminal,
    report: Report,
    shown: bool,
    filtered: bool,
}

impl Lines {
    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if !self.shown {
            writeln!(out, "{}", trace::HEADING)?;
            self.shown = true;
        }
        writeln!(out, "{line}")?;
        Ok(out.flush()?)
    }
}

impl Handler for Lines {
    fn transaction(&mut self, transaction: &Transaction) -> anyhow::Result<()> {
        let line = trace::transaction(transaction, &self.terminal);
        self.line(&line)
    }

    fn verdict(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        self.report.add(verdict);
        let line = trace::verdict(verdict, &self.terminal);
        self.line(&line)
    }

    fn retry(&mut self, retry: &Retry) -> anyhow::Result<()> {
        let line = trace::retry(retry, &self.terminal);
        self.line(&line)
    }

    fn snapshot(&mut self, snapshot: &Arc<Snapshot>, last: bool) -> anyhow::Result<()> {
        if !last {
            return Ok(());
        }
        let text = if self.shown {
            self.report.render(&self.terminal)
        } else {
            trace::nothing(snapshot, self.filtered)
        };
        self.line(&text)
    }
}

/// The lines of a server's query log, and nothing else on standard output.
struct ServerLog {
    shown: bool,
    filtered: bool,
}

impl Handler for ServerLog {
    fn transaction(&mut self, transaction: &Transaction) -> anyhow::Result<()> {
        let Some(line) = coredns::line(transaction) else { return Ok(()) };
        self.shown = true;
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        Ok(out.flush()?)
    }

    fn verdict(&mut self, _: &Verdict) -> anyhow::Result<()> {
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &Arc<Snapshot>, last: bool) -> anyhow::Result<()> {
        if last {
            let end = if self.shown {
                trace::seen(snapshot)
            } else {
                trace::no_server(snapshot, self.filtered)
            };
            eprintln!("dnsprobe: {end}");
        }
        Ok(())
    }
}
