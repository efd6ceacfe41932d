//! The command line: one file per subcommand, which wires the rooms together
//! and nothing else.

mod beside;
mod capture;
mod check;
mod conntrack_owners;
mod diagnose;
mod doctor;
mod explain;
mod filter;
mod handler;
mod hooks;
mod pipeline;
mod places;
mod playback;
mod privileges;
mod query;
mod record;
mod recording;
mod reference;
mod remotes;
mod replay;
mod report;
mod screen;
mod selection;
mod serve;
mod sources;
mod ticket;
mod top;
mod trace;
mod traffic;
mod watch;

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::{places::NodePlaces, playback::Recorded, sources::Sources, traffic::Traffic};
use crate::{capture::WriteError, kernel::SessionError, query::PlaceError, record::Limits};

/// Everything went as asked.
const EXIT_OK: u8 = 0;
/// `diagnose` found a fault, `doctor` something missing, `check` something
/// wrong, `explain` recognised nothing.
const EXIT_FOUND: u8 = 1;
/// The command could not do its work.
const EXIT_FAILED: u8 = 2;

/// Why DNS fails on this node, per pod, proven by the kernel.
///
/// dnsprobe watches DNS on one node from inside the kernel: who asks, how long
/// the answer takes, and where a query that got no answer was lost. It needs
/// no cluster credentials.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Exit codes: 0 done; 1 the command found something (its --help says what); 2 could not run.

Examples:
  dnsprobe top                         per-pod table, refreshed every second
  dnsprobe trace --only-failed         one line per lost query, with its cause
  dnsprobe trace --pod cart-0 -o json  every look-up of one pod, for machines
  dnsprobe diagnose                    30 seconds, then what is wrong and what to do
  dnsprobe record -o node.rec          keep what is seen, for `dnsprobe replay`
  dnsprobe capture -w dns.pcapng       packets, dropped ones too, for Wireshark
  dnsprobe report -w dns.html          one page: figures over time, per pod, findings
  dnsprobe ticket -o outage            all evidence of what is wrong, to hand on
  dnsprobe doctor                      what can be seen on this kernel, and how
  dnsprobe check                       what is wrong with the node's and pods' set-up
  dnsprobe explain 'MESSAGE'           what a client's error message is worth
  dnsprobe query NAME --pod cart-0     ask every server from where the pod stands
  dnsprobe serve                       watch all the time, metrics on 127.0.0.1:9353"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Top(top::Options),
    Trace(trace::Options),
    Diagnose(diagnose::Options),
    Record(record::Options),
    Capture(capture::Options),
    Replay(replay::Options),
    Report(report::Options),
    Ticket(ticket::Options),
    Doctor(doctor::Options),
    Check(check::Options),
    Explain(explain::Options),
    Query(query::Options),
    Serve(serve::Options),
    #[command(hide = true)]
    GenerateDocs(reference::Options),
}

/// Output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for people.
    #[default]
    Table,
    /// One JSON object per line (docs/json.md).
    Json,
}

/// Options of every command that watches traffic.
#[derive(Clone, Debug, Args)]
struct WatchOptions {
    /// Stop after this time; without it, on Ctrl-C.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    duration: Option<Duration>,
    #[command(flatten)]
    traffic: Traffic,
    /// Also write what is seen into a file, for `dnsprobe replay`.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// How large that file may become.
    #[arg(skip = recording::LIMITS)]
    record_limits: Limits,
    /// Bytes to capture of each packet; `None`: no packets.
    #[arg(skip)]
    capture: Option<u32>,
    /// The recording to take everything from, instead of the kernel.
    #[arg(skip)]
    replay: Option<Recorded>,
}

impl WatchOptions {
    /// The name of the node that is watched.
    fn node_name(&self) -> String {
        let own = || self.traffic.node.name().unwrap_or_else(|| "this node".to_owned());
        self.replay.as_ref().map_or_else(own, |recorded| recorded.node.clone())
    }
}

/// Runs the command line.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    let result = match &cli.command {
        Command::Top(options) => top::run(options),
        Command::Trace(options) => trace::run(options),
        Command::Diagnose(options) => diagnose::run(options),
        Command::Record(options) => record::run(options),
        Command::Capture(options) => capture::run(options),
        Command::Replay(options) => replay::run(options),
        Command::Report(options) => report::run(options),
        Command::Ticket(options) => ticket::run(options),
        Command::Doctor(options) => doctor::run(options),
        Command::Check(options) => check::run(options),
        Command::Explain(options) => explain::run(options),
        Command::Query(options) => query::run(options),
        Command::Serve(options) => serve::run(options),
        Command::GenerateDocs(options) => reference::run(options),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_broken_pipe(&error) => ExitCode::from(EXIT_OK),
        Err(error) => {
            eprintln!("error: {error:#}");
            if let Some(hint) = hint(&error) {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// What to do about an error, if it knows.
fn hint(error: &anyhow::Error) -> Option<String> {
    let session = error.downcast_ref::<SessionError>().and_then(SessionError::hint);
    let place = || error.downcast_ref::<PlaceError>().and_then(PlaceError::hint);
    let file = || error.downcast_ref::<WriteError>().and_then(WriteError::hint);
    session
        .map(|hint| hint.to_string())
        .or_else(|| place().map(str::to_owned))
        .or_else(|| file().map(str::to_owned))
}

/// Whoever read our output has enough: that is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
    })
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration < Duration::from_millis(1) {
        return Err("must be at least 1ms".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_time_of_zero_is_refused() {
        assert!(Cli::try_parse_from(["dnsprobe", "top", "--lost-after", "0s"]).is_err());
        assert!(Cli::try_parse_from(["dnsprobe", "top", "--lost-after", "2s"]).is_ok());
    }

    #[test]
    fn a_broken_pipe_is_no_failure() {
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&anyhow::Error::from(broken).context("cannot write")));
        assert!(!is_broken_pipe(&anyhow::anyhow!("other")));
    }
}
