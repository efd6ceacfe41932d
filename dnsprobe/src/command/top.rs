//! `dnsprobe top`: the per-pod table.

use std::{
    io::{self, IsTerminal, Write},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use clap::Args;

use super::{
    EXIT_OK, Format, WatchOptions,
    screen::{Input, Screen},
    watch::{self, Detail, Handler, Wish},
};
use crate::{
    engine::{Retry, Transaction, Verdict},
    output::{
        Terminal, json,
        table::Top,
        verdicts::Report,
        view::{Reaction, View},
    },
    stats::Snapshot,
    time::Timestamp,
};

/// Per-pod DNS table: rates, latency, losses by cause; refreshed in place.
///
/// Counts everything inside the kernel and reads it once per interval; only
/// failures are reported one by one.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  dnsprobe top                            full screen; ? lists the keys, q quits
  dnsprobe top --plain                    plain lines, one table per second
  dnsprobe top --interval 10s -o json     one snapshot per line and 10 seconds
  dnsprobe top --duration 1m --lost-after 2s
  dnsprobe top --ports 53,5353
  dnsprobe top --without-names --interval 10s -o json    for watching all the time")]
pub(super) struct Options {
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
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
    /// Plain lines instead of the full-screen view, as without a terminal.
    #[arg(long)]
    plain: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<u8> {
    let mut handler: Box<dyn Handler> = match options.output {
        Format::Json => Box::new(Json { transactions: false }),
        Format::Table => {
            let terminal = if options.plain { Terminal::PLAIN } else { Terminal::of_stdout() };
            let table = Table {
                top: Top::new(&options.watch.node_name(), options.watch.traffic.ports.clone()),
                report: Report::new(),
                terminal,
            };
            if terminal.live && io::stdin().is_terminal() {
                Box::new(Live {
                    view: View::new(
                        &options.watch.node_name(),
                        &options.watch.traffic.ports,
                        terminal.colour,
                    ),
                    screen: None,
                    table,
                })
            } else {
                Box::new(table)
            }
        }
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

    fn snapshot(&mut self, snapshot: &Arc<Snapshot>, last: bool) -> anyhow::Result<()> {
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

/// The full-screen view; at the end, on the terminal as it was, the last table.
struct Live {
    view: View,
    screen: Option<Screen>,
    table: Table,
}

impl Live {
    fn draw(&mut self) -> anyhow::Result<()> {
        match &mut self.screen {
            Some(screen) => screen.draw(&mut self.view),
            None => Ok(()),
        }
    }
}

impl Handler for Live {
    fn transaction(&mut self, _: &Transaction) -> anyhow::Result<()> {
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        self.view.verdict(verdict);
        self.table.verdict(verdict)
    }

    /// A picture that the terminal had no time for is drawn when it has.
    fn now(&mut self, _: Timestamp) {
        if self.screen.as_ref().is_some_and(Screen::is_stale) {
            // What is wrong with the terminal shows at the next snapshot too.
            let _ = self.draw();
        }
    }

    fn input(&mut self) -> Pin<Box<dyn Future<Output = anyhow::Result<Wish>> + '_>> {
        Box::pin(async {
            if self.screen.is_none() {
                self.screen = Some(Screen::enter()?);
                self.draw()?;
            }
            let Some(screen) = &mut self.screen else { return Ok(Wish::Continue) };
            match screen.input().await? {
                Input::Quit => return Ok(Wish::Stop),
                Input::Key(key) if self.view.key(key) == Reaction::Quit => return Ok(Wish::Stop),
                Input::Key(_) => {}
                Input::Redraw => screen.redraw()?,
                Input::Suspend => screen.suspend()?,
                Input::Other => return Ok(Wish::Continue),
            }
            self.draw()?;
            Ok(Wish::Continue)
        })
    }

    fn snapshot(&mut self, snapshot: &Arc<Snapshot>, last: bool) -> anyhow::Result<()> {
        self.view.snapshot(snapshot);
        if !last {
            return self.draw();
        }
        self.screen = None;
        // Below what was on the terminal, not over it.
        self.table.terminal.live = false;
        self.table.snapshot(snapshot, last)
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

    fn snapshot(&mut self, snapshot: &Arc<Snapshot>, _: bool) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        json::write(json::Record::Snapshot(snapshot), &mut out)?;
        Ok(out.flush()?)
    }
}
