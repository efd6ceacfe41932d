//! `dnsprobe replay`: any view, from a recording.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Subcommand};

use super::{
    WatchOptions, diagnose,
    playback::{Prints, Recorded},
    report, top, trace,
};
use crate::{output::printable, record::Reader};

/// Run a view from what `dnsprobe record` wrote, with the results that it would
/// have had then.
///
/// The view takes the options that it has when watching. Ports and the time
/// after which a query counts as lost are those of the recording; --duration
/// stops after the first part of it. Older parts (FILE.1, ...) are read as well.
/// Needs no privilege and no kernel.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exit codes: those of the view; 2 when the file cannot be replayed.

Examples:
  dnsprobe replay node.rec diagnose
  dnsprobe replay node.rec trace --only-failed -o json
  dnsprobe replay node.rec top --interval 10s -o json
  dnsprobe replay node.rec report -w dns.html")]
pub(super) struct Options {
    /// The recording.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(subcommand)]
    view: View,
}

#[derive(Clone, Debug, Subcommand)]
enum View {
    Top(top::Options),
    Trace(trace::Options),
    Diagnose(diagnose::Options),
    Report(report::Options),
}

pub(super) fn run(options: &Options) -> anyhow::Result<u8> {
    let recorded = open(&options.file)?;
    match options.view.clone() {
        View::Top(mut view) => {
            recorded.replaces(&mut view.watch, Prints::AllAlong)?;
            top::run(&view)
        }
        View::Trace(mut view) => {
            recorded.replaces(&mut view.watch, Prints::AllAlong)?;
            trace::run(&view)
        }
        View::Diagnose(mut view) => {
            recorded.replaces(&mut view.watch, Prints::AtItsEnd)?;
            diagnose::run(&view)
        }
        View::Report(mut view) => {
            anyhow::ensure!(view.from.is_none(), "--from has no use in a replay");
            recorded.replaces(&mut view.watch, Prints::AtItsEnd)?;
            report::run(&view)
        }
    }
}

/// A recording and what it says of its making.
pub(super) struct Source {
    file: PathBuf,
    node: String,
    lost_after: Duration,
    ports: Vec<u16>,
}

/// Opens a recording and says what it is.
pub(super) fn open(file: &Path) -> anyhow::Result<Source> {
    let reader = Reader::open(file)?;
    let header = reader.header();
    let (node, release) = (printable(&header.node), printable(&header.kernel));
    eprintln!("dnsprobe: replaying {}: {node}, kernel {release}", file.display());
    if !header.transactions {
        eprintln!("dnsprobe: the recording has no answered queries one by one, only their counts");
    }
    Ok(Source {
        file: file.to_owned(),
        node: node.into_owned(),
        lost_after: Duration::from_nanos(header.lost_after_ns),
        ports: header.ports.clone(),
    })
}

impl Source {
    /// For a command that prints only at its end.
    pub(super) fn recorded(self) -> Recorded {
        Recorded { file: self.file, node: self.node, prints: Prints::AtItsEnd }
    }

    /// Makes a view take everything from here.
    pub(super) fn replaces(&self, watch: &mut WatchOptions, prints: Prints) -> anyhow::Result<()> {
        anyhow::ensure!(watch.record.is_none(), "--record has no use in a replay");
        watch.traffic.lost_after = self.lost_after;
        watch.traffic.ports.clone_from(&self.ports);
        watch.replay = Some(Recorded { file: self.file.clone(), node: self.node.clone(), prints });
        Ok(())
    }
}
