//! `dnsprobe ticket`: everything that proves what is wrong, as files.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use clap::Args;
use rustix::rand::{GetRandomFlags, getrandom};

use super::{
    EXIT_FOUND, EXIT_OK,
    beside::Beside,
    capture::Capture,
    diagnose::{self, Examination},
    playback::{self, Prints, Recorded},
    recording, replay,
    traffic::Traffic,
    watch::{self, Detail, Handler},
};
use crate::{
    engine::{Cause, Transaction, Verdict},
    findings::{Code, FindingCode},
    kernel::MAX_CAPTURE_BYTES,
    stats::Snapshot,
    ticket::{Case, Collector, Place, Redact, Redactor, Scope},
};

/// Watching time when none is given.
const DURATION: Duration = Duration::from_secs(30);
/// The packets of what was lost, where the ticket is made live.
const PACKETS: &str = "packets.pcapng";
/// How large that may become, bytes.
const PACKETS_BYTES: u64 = 16 << 20;
/// The recording that a live ticket is made from.
const RECORDING: &str = "recording.rec";

/// Make a ticket: one directory and one archive with everything that proves what
/// is wrong, for whoever has to mend it.
///
/// Watches for 30 seconds, or reads a recording. DIR is made, or has to be empty;
/// it gets `ticket/` and `ticket.tar.zst` with the same in it. `ticket/ticket.md`
/// is for a human in a minute; the other files are the evidence, and `sha256sum
/// -c SHA256SUMS` checks them. Made live and without --redact, it also has the lost
/// packets themselves (packets.pcapng). Nothing is written outside DIR.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exit codes: 0 no fault was found; 1 one was; 2 no ticket could be made.

Examples:
  dnsprobe ticket -o outage
  dnsprobe ticket --from node.rec -o outage --cause conntrack-clash
  dnsprobe ticket --duration 5m --pod shop/cart-0 --redact names,addresses -o outage")]
pub(super) struct Options {
    /// The directory to make.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Take everything from this recording instead of watching.
    #[arg(long, value_name = "FILE", conflicts_with = "duration")]
    from: Option<PathBuf>,
    /// How long to watch.
    #[arg(long, value_parser = super::positive_duration, value_name = "TIME")]
    duration: Option<Duration>,
    /// Only what has this cause or finding (docs/causes.md, docs/findings.md);
    /// repeatable.
    #[arg(long, value_parser = parse_code, value_name = "CODE")]
    cause: Vec<Code>,
    /// What is replaced by hashes that are the same all through this ticket, and
    /// differ from any other's.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    redact: Vec<Redact>,
    /// Put the recording into the ticket too, for `dnsprobe replay`.
    #[arg(long, conflicts_with = "redact")]
    with_recording: bool,
    #[command(flatten)]
    scope: diagnose::Scope,
    #[command(flatten)]
    traffic: Traffic,
}

fn parse_code(text: &str) -> Result<Code, String> {
    let cause = Cause::ALL.into_iter().find(|cause| cause.as_str() == text).map(Code::Cause);
    let finding = || FindingCode::ALL.into_iter().find(|code| code.as_str() == text);
    cause.or_else(|| finding().map(Code::Finding)).ok_or_else(|| {
        "no cause or finding has that name; docs/causes.md and docs/findings.md list them"
            .to_owned()
    })
}

pub(super) fn run(options: &Options) -> anyhow::Result<u8> {
    let place = Place::new(&options.output)?;
    let mut capture = None;
    let recording = match &options.from {
        Some(file) => replay::open(file)?.recorded(),
        None => {
            let file = place.scratch(RECORDING);
            let duration = Some(options.duration.unwrap_or(DURATION));
            let mut watch = options.traffic.recording(file.clone(), recording::LIMITS, duration);
            let every = Some(super::record::READ_EVERY);
            // Of packets nothing can be hidden.
            if options.redact.is_empty() {
                let packets = place.scratch(PACKETS);
                capture = Some(Capture::of_losses(&watch, &packets, PACKETS_BYTES)?);
                watch.capture = Some(MAX_CAPTURE_BYTES);
            }
            let handler: &mut dyn Handler = match &mut capture {
                Some(capture) => capture,
                None => &mut super::record::Nobody,
            };
            watch::run(&watch, Detail::Transactions, every, handler)?;
            Recorded { file, node: watch.node_name(), prints: Prints::AtItsEnd }
        }
    };
    let mut case = case(options, &recording)?;
    case.packets = capture.map(|capture| capture.written()).filter(|packets| *packets > 0);
    let mut key = [0; 32];
    getrandom(&mut key, GetRandomFlags::empty()).context("cannot make a key")?;
    let mut redactor = Redactor::new(&options.redact, key);
    let mut files: BTreeMap<String, Vec<u8>> = case
        .files(&mut redactor)
        .into_iter()
        .map(|(name, text)| (name, text.into_bytes()))
        .collect();
    if options.with_recording {
        let bytes = fs::read(&recording.file)
            .with_context(|| format!("cannot read {}", recording.file.display()))?;
        files.insert(RECORDING.to_owned(), bytes);
    }
    if case.packets.is_some() {
        let path = place.scratch(PACKETS);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.insert(PACKETS.to_owned(), bytes);
    }
    let made_ns = case.diagnosis.time.unix_ns();
    let (directory, archive) = place.write(&files, made_ns / 1_000_000_000)?;
    if options.from.is_none() {
        fs::remove_file(&recording.file).context("cannot remove the recording")?;
        // There is none where nothing could be captured.
        let _ = fs::remove_file(place.scratch(PACKETS));
    }
    println!("{}\n{}", directory.join("ticket.md").display(), archive.display());
    Ok(if case.diagnosis.fault { EXIT_FOUND } else { EXIT_OK })
}

/// Everything that the recording holds of the case.
fn case(options: &Options, recording: &Recorded) -> anyhow::Result<Case> {
    let causes = options.cause.iter().filter_map(|code| match code {
        Code::Cause(cause) => Some(*cause),
        Code::Finding(_) => None,
    });
    let causes: Vec<Cause> = causes.collect();
    let scope = Scope {
        owner: options.scope.wanted(),
        failed_answers: options.cause.is_empty() || causes.len() < options.cause.len(),
        causes,
    };
    let mut examination = Examination::new(options.scope.findings(), None);
    let mut evidence = Evidence { collector: Collector::new(scope), snapshot: None };
    let every = Some(super::record::READ_EVERY);
    let both = &mut Beside(&mut examination, &mut evidence);
    let aside = playback::run(recording, None, every, both)?;
    let Evidence { collector, snapshot } = evidence;
    let mut case = Case {
        header: aside.header,
        files: aside.files,
        damage: aside.damage,
        diagnosis: examination.diagnosis()?,
        snapshot: Arc::unwrap_or_clone(snapshot.context("the recording has no counters")?),
        collected: collector,
        packets: None,
    };
    case.narrow(&options.cause);
    Ok(case)
}

/// Keeps single queries, and the last counters.
struct Evidence {
    collector: Collector,
    snapshot: Option<Arc<Snapshot>>,
}

impl Handler for Evidence {
    fn transaction(&mut self, transaction: &Transaction) -> anyhow::Result<()> {
        self.collector.transaction(transaction);
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        self.collector.verdict(verdict);
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &Arc<Snapshot>, last: bool) -> anyhow::Result<()> {
        if last {
            self.snapshot = Some(Arc::clone(snapshot));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_and_findings_go_by_their_names() {
        assert_eq!(parse_code("conntrack-clash"), Ok(Code::Cause(Cause::ConntrackClash)));
        assert_eq!(parse_code("nxdomain"), Ok(Code::Finding(FindingCode::Nxdomain)));
        assert!(parse_code("conntrack").is_err());
    }
}
