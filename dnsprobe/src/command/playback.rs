//! Runs a recording through the pipeline, as the watch that made it did.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{pipeline::Pipeline, watch::Handler};
use crate::{
    engine::Engine,
    kernel,
    record::{Damage, Entry, Header, KnownOwners, NodeFile, Reader, Reading},
    time::{Clock, Timestamp},
};

/// Readings that come this much early still end their interval: the recorder's
/// clock ticked a little late each time.
pub(super) const EARLY: u32 = 10;
/// Entries between two looks at how far it is.
const PROGRESS_EVERY: u64 = 4_096;

/// When a command prints: lines that are printed all along would be disturbed by a
/// progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prints {
    /// From the beginning to the end.
    AllAlong,
    /// What it all came to.
    AtItsEnd,
}

/// A recording to take everything from.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    /// Its newest part.
    pub(super) file: PathBuf,
    /// The node it was made on.
    pub(super) node: String,
    /// When the command prints.
    pub(super) prints: Prints,
}

/// What of a recording is no observation, and what could not be used.
#[derive(Clone, Debug, Default)]
pub(super) struct Aside {
    /// See [`Header`].
    pub(super) header: Header,
    /// What the kernel said of itself.
    pub(super) files: Vec<NodeFile>,
    /// What could not be used.
    pub(super) damage: Damage,
}

/// Files of the node that are kept; no recorder writes more.
const MAX_FILES: usize = 200;

/// Runs through it all, or through its first `duration`.
pub(super) fn run(
    recorded: &Recorded,
    duration: Option<Duration>,
    every: Option<Duration>,
    handler: &mut dyn Handler,
) -> anyhow::Result<Aside> {
    let reader = Reader::open(&recorded.file)?;
    let bar = bar(&reader, recorded.prints);
    let mut playback = Playback::new(reader, every);
    let mut entries = 0_u64;
    while let Some(entry) = playback.reader.next_entry() {
        if !playback.take(entry, duration, handler)? {
            break;
        }
        entries += 1;
        if entries.is_multiple_of(PROGRESS_EVERY) {
            bar.set_position(playback.reader.progress().0);
        }
    }
    bar.finish_and_clear();
    let aside = playback.finish(handler)?;
    if let Some(damage) = aside.damage.describe() {
        eprintln!("dnsprobe: {}: {damage}", recorded.file.display());
    }
    Ok(aside)
}

fn bar(reader: &Reader, prints: Prints) -> ProgressBar {
    let disturbs = prints == Prints::AllAlong && io::stdout().is_terminal();
    if !io::stderr().is_terminal() || disturbs {
        return ProgressBar::hidden();
    }
    let style = "{wide_bar} {bytes} of {total_bytes}, {eta} left";
    let bar = ProgressBar::new(reader.progress().1);
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

struct Playback {
    reader: Reader,
    pipeline: Pipeline,
    owners: KnownOwners,
    every: Option<Duration>,
    /// When the last window ended, since the start.
    window: Duration,
    /// A window ended, and it is not known yet whether it is the last.
    window_ended: bool,
    start_ns: u64,
    now_ns: u64,
    /// What was unusable when it was last looked at.
    damage: Damage,
    /// Whether it has to be told again when the time is known.
    damage_told: bool,
    files: Vec<NodeFile>,
}

impl Playback {
    fn new(reader: Reader, every: Option<Duration>) -> Self {
        let header = reader.header();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_nanos(header.wall_ns);
        let clock = Clock::new(wall, header.monotonic_ns);
        let engine = Engine::new(header.blindness.clone());
        let start_ns = header.monotonic_ns;
        let mut pipeline = Pipeline::new(engine, header.missing.clone(), clock);
        pipeline.is_of(Some(header.node.clone()));
        Self {
            pipeline,
            reader,
            owners: KnownOwners::new(),
            every,
            window: Duration::ZERO,
            window_ended: false,
            start_ns,
            now_ns: start_ns,
            damage: Damage::default(),
            damage_told: true,
            files: Vec::new(),
        }
    }

    /// Takes in an entry; whether to go on.
    fn take(
        &mut self,
        entry: Entry,
        duration: Option<Duration>,
        handler: &mut dyn Handler,
    ) -> anyhow::Result<bool> {
        self.look_at_damage();
        if self.window_ended && !matches!(entry, Entry::NodeFile(_) | Entry::End) {
            self.window_ended = false;
            handler.snapshot(&self.pipeline.snapshot(), false)?;
        }
        match entry {
            Entry::Observation(observation) => {
                self.pipeline.observe(*observation, &mut self.owners);
            }
            Entry::Owner(key, owner) => self.owners.learn(key, owner),
            Entry::Remote(netns, address, remote) => {
                self.owners.learn_remote(netns, address, remote);
            }
            Entry::OwnersForgotten => self.owners.forget(),
            Entry::Reading(reading) => self.read(&reading),
            Entry::EventsLost(at_ns) => self.pipeline.events_lost(at_ns),
            Entry::Forget(before_ns) => self.pipeline.forget(before_ns),
            Entry::Now(at_ns) => {
                self.now_ns = at_ns;
                if !self.damage_told {
                    self.damage_told = true;
                    self.tell_damage(at_ns);
                }
                self.pipeline.now(at_ns, handler);
                let passed = Duration::from_nanos(at_ns.saturating_sub(self.start_ns));
                if duration.is_some_and(|duration| passed >= duration) {
                    return Ok(false);
                }
            }
            Entry::HandOver => self.pipeline.hand_over(handler)?,
            Entry::NodeFile(file) if self.files.len() < MAX_FILES => self.files.push(*file),
            Entry::NodeFile(_) | Entry::Header(_) | Entry::Gap(_) | Entry::End => {}
        }
        Ok(true)
    }

    fn read(&mut self, reading: &Reading) {
        let since = Duration::from_nanos(reading.since_ns);
        let counters = kernel::Reading {
            aggregates: self.reader.aggregates(reading),
            events_lost: reading.events_lost,
            in_flight_full: reading.in_flight_full,
            stats_full: reading.stats_full,
            tcp_unread: reading.tcp_unread,
            missed_runs: reading.missed_runs,
            ..kernel::Reading::default()
        };
        let time = Timestamp::from_unix_ns(reading.time_ns);
        self.pipeline.read(counters, time, since, &mut self.owners);
        if let Some(every) = self.every
            && since.saturating_sub(self.window) >= every - every / EARLY
        {
            self.window = since;
            self.window_ended = true;
        }
    }

    /// Nothing may be concluded from the absence of what could not be read.
    fn look_at_damage(&mut self) {
        let damage = self.reader.damage();
        if damage != self.damage {
            self.damage = damage;
            self.damage_told = false;
            self.tell_damage(self.now_ns);
        }
    }

    fn tell_damage(&mut self, at_ns: u64) {
        let Damage { places, unknown_entries, unwritten_entries, .. } = self.damage;
        self.pipeline.unusable(places + unknown_entries + unwritten_entries, at_ns);
    }

    /// The last snapshot.
    fn finish(mut self, handler: &mut dyn Handler) -> anyhow::Result<Aside> {
        self.look_at_damage();
        self.pipeline.hand_over(handler)?;
        handler.snapshot(&self.pipeline.snapshot(), true)?;
        let (header, damage) = (self.reader.header().clone(), self.reader.damage());
        Ok(Aside { header, files: self.files, damage })
    }
}
