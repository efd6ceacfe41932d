//! From observations and readings to what handlers are told: the same for a
//! live watch and for a recording of one.

use std::{sync::Arc, time::Duration};

use dnsprobe_common::flow::Role;

use super::watch::Handler;
use crate::{
    engine::{Engine, Observation, Outcome, Retries},
    identity::Identify,
    kernel,
    record::{self, Entry, Recorder},
    stats::{Completeness, Missing, PodStats, Snapshot},
    time::{Clock, Timestamp},
};

/// Engine, statistics, and what was decided and not yet passed on.
pub(super) struct Pipeline {
    engine: Engine,
    clock: Clock,
    retries: Retries,
    stats: PodStats,
    outcomes: Vec<Outcome>,
    missing: Vec<Missing>,
    /// Takes everything down that comes in here.
    recorder: Option<Recorder>,
    latest: Latest,
    /// What earlier plans of the hooks did not see.
    earlier: Completeness,
    /// When the window began, since the start.
    window: Duration,
    /// Entries of the recording that could not be used.
    unusable: u64,
    /// The node that all of it is of.
    node: Option<String>,
}

/// What the last reading said besides the aggregates.
#[derive(Default)]
struct Latest {
    time: Option<Timestamp>,
    since: Duration,
    completeness: Completeness,
}

impl Pipeline {
    pub(super) fn new(engine: Engine, missing: Vec<Missing>, clock: Clock) -> Self {
        Self {
            engine,
            clock,
            retries: Retries::default(),
            stats: PodStats::new(),
            outcomes: Vec::new(),
            missing,
            recorder: None,
            latest: Latest::default(),
            earlier: Completeness::default(),
            window: Duration::ZERO,
            unusable: 0,
            node: None,
        }
    }

    /// The node that is watched, or was.
    pub(super) fn is_of(&mut self, node: Option<String>) {
        self.node = node;
    }

    /// Takes everything down from here on.
    pub(super) fn record(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
    }

    /// Whether anything is taken down.
    pub(super) fn records(&self) -> bool {
        self.recorder.is_some()
    }

    /// The recording, which ends here.
    pub(super) fn take_recorder(&mut self) -> Option<Recorder> {
        self.recorder.take()
    }

    pub(super) fn observe(&mut self, observation: Observation, identify: &mut dyn Identify) {
        let Self { engine, clock, outcomes, recorder, .. } = self;
        let mut take_in = |observation, identify: &mut dyn Identify| {
            engine.observe(observation, identify, clock, &mut |outcome| outcomes.push(outcome));
        };
        match recorder {
            Some(recorder) => recorder.observation(observation, identify, take_in),
            None => take_in(observation, identify),
        }
    }

    /// Events are missing up to a moment, kernel nanoseconds.
    pub(super) fn events_lost(&mut self, at_ns: u64) {
        self.take_down(&Entry::EventsLost(at_ns));
        self.engine.events_lost(at_ns);
    }

    /// So many entries of a recording could not be used.
    pub(super) fn unusable(&mut self, entries: u64, at_ns: u64) {
        self.unusable = entries;
        self.engine.events_lost(at_ns);
    }

    /// Forgets facts from before a moment, kernel nanoseconds.
    pub(super) fn forget(&mut self, before_ns: u64) {
        self.take_down(&Entry::Forget(before_ns));
        self.engine.forget(before_ns);
    }

    /// It is this late, kernel nanoseconds.
    pub(super) fn now(&mut self, at_ns: u64, handler: &mut dyn Handler) {
        self.take_down(&Entry::Now(at_ns));
        if let Some(problem) = self.recorder.as_mut().and_then(Recorder::problem) {
            eprintln!("dnsprobe: {problem}");
        }
        handler.now(self.clock.timestamp(at_ns));
    }

    /// Counts what was decided and passes it on.
    pub(super) fn hand_over(&mut self, handler: &mut dyn Handler) -> anyhow::Result<()> {
        if self.outcomes.is_empty() {
            return Ok(());
        }
        self.take_down(&Entry::HandOver);
        for outcome in std::mem::take(&mut self.outcomes) {
            match outcome {
                Outcome::Verdict(verdict) => {
                    let server = verdict.query.server;
                    let owner = &verdict.owner;
                    if verdict.loss {
                        self.stats.lost(owner, Role::Client, server, verdict.cause);
                    } else {
                        self.stats.near_miss(owner, Role::Client, server, verdict.cause);
                    }
                    handler.verdict(&verdict)?;
                    if let Some(retry) = self.retries.decided(&verdict) {
                        handler.retry(&retry)?;
                    }
                }
                Outcome::Transaction(transaction) => {
                    handler.transaction(&transaction)?;
                    for retry in self.retries.answered(&transaction) {
                        handler.retry(&retry)?;
                    }
                }
                Outcome::ConnectFailed(failure) => handler.connect_failed(&failure)?,
                Outcome::NotFollowed { owner, role, server, query } => {
                    self.stats.not_followed(&owner, role, server, 1);
                    handler.not_followed(&owner, role, &query)?;
                }
                Outcome::Uncounted { owner, server } => {
                    self.stats.add_query(&owner, Role::Client, server);
                }
            }
        }
        Ok(())
    }

    /// Takes in a reading of every counter, made at `time`, `since` the start.
    pub(super) fn read(
        &mut self,
        reading: kernel::Reading,
        time: Timestamp,
        since: Duration,
        identify: &mut dyn Identify,
    ) {
        let kernel::Reading {
            aggregates, events_lost, in_flight_full, stats_full, tcp_unread, ..
        } = reading;
        let missed_runs = reading.missed_runs;
        match &mut self.recorder {
            Some(recorder) => {
                let entry = record::Reading {
                    time_ns: time.unix_ns(),
                    since_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
                    events_lost,
                    in_flight_full,
                    stats_full,
                    tcp_unread,
                    missed_runs,
                    ..record::Reading::default()
                };
                let sums = &mut self.stats;
                recorder.reading(entry, aggregates, identify, |aggregates, identify| {
                    sums.read(aggregates, identify);
                });
            }
            None => self.stats.read(aggregates, identify),
        }
        self.latest = Latest {
            time: Some(time),
            since,
            completeness: Completeness {
                missing: self.missing.clone(),
                lost_events: self.earlier.lost_events + events_lost,
                in_flight_full: self.earlier.in_flight_full + in_flight_full,
                stats_full: self.earlier.stats_full + stats_full,
                tcp_unread: self.earlier.tcp_unread + tcp_unread,
                missed_runs: self.earlier.missed_runs + missed_runs,
                ..Completeness::default()
            },
        };
    }

    /// The hooks were planned anew after the last reading: the kernel's counters begin
    /// at zero, and what was in flight is not followed any further. Not for what is
    /// recorded: a recording is of one plan.
    pub(super) fn plan_anew(&mut self, engine: Engine, missing: Vec<Missing>) {
        self.engine = engine;
        self.missing = missing;
        self.earlier = self.latest.completeness.clone();
        self.stats.begin_anew();
    }

    /// Ends the window at the last reading.
    pub(super) fn snapshot(&mut self) -> Arc<Snapshot> {
        let Latest { time, since, completeness } = &self.latest;
        let mut completeness = completeness.clone();
        completeness.lost_events += self.unusable;
        let window = since.saturating_sub(self.window);
        self.window = *since;
        let time = time.unwrap_or_else(|| self.clock.timestamp(0));
        let mut snapshot = self.stats.snapshot(time, window, *since, completeness);
        snapshot.node.clone_from(&self.node);
        Arc::new(snapshot)
    }

    /// Takes down an entry, where anything is recorded.
    pub(super) fn take_down(&mut self, entry: &Entry) {
        if let Some(recorder) = &mut self.recorder {
            recorder.entry(entry);
        }
    }
}
