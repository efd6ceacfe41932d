//! What `top` and `trace` share: attach, then turn events and counters into
//! outcomes and snapshots until told to stop.

use std::{
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;
use dnsprobe_common::flow::Role;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep_until},
};

use super::{WatchOptions, pipeline::Pipeline, playback, privileges, recording, remotes};
use crate::{
    capture::Seen,
    engine::{Blindness, ConnectFailure, Engine, Query, Retry, Transaction, Verdict},
    identity::{Identify, Identity, Owner},
    kernel::{self, RoleReport, RoleState, Session, now_ns},
    record::{Pending, Phase},
    stats::{Missing, Snapshot},
    time::Timestamp,
};

/// How often unanswered queries are looked for.
const SWEEP: Duration = Duration::from_millis(250);

/// How often the counters are read for a recording only.
const RECORD_EVERY: Duration = Duration::from_secs(1);

/// How long facts outlive the moment a query counts as lost.
const FACT_GRACE: Duration = Duration::from_secs(5);

/// What the kernel programs keep and tell of a query besides counting it. Each
/// costs more than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Nothing: as cheap as counting gets.
    Counts,
    /// The latest questions, so that a lost query has its name.
    Names,
    /// These, and every finished transaction is reported.
    Transactions,
}

/// What the user wants of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To go on.
    Continue,
    /// To stop.
    Stop,
}

/// What a command does with what comes in.
pub(super) trait Handler {
    /// Everything is attached; called once, inside the event loop.
    fn watching(&mut self, _hooks: &[RoleReport]) -> anyhow::Result<()> {
        Ok(())
    }
    /// An answered query; only when tracing.
    fn transaction(&mut self, transaction: &Transaction) -> anyhow::Result<()>;
    /// A lost query or a near miss.
    fn verdict(&mut self, verdict: &Verdict) -> anyhow::Result<()>;
    /// A query whose end is nobody's loss.
    fn not_followed(
        &mut self,
        _owner: &Arc<Owner>,
        _role: Role,
        _query: &Query,
    ) -> anyhow::Result<()> {
        Ok(())
    }
    /// A lost query whose question was asked again and answered.
    fn retry(&mut self, _: &Retry) -> anyhow::Result<()> {
        Ok(())
    }
    /// A TCP connection to a DNS port that was not made.
    fn connect_failed(&mut self, _: &ConnectFailure) -> anyhow::Result<()> {
        Ok(())
    }
    /// Packets that were captured since the last time, in about the order of their
    /// time, and how many could not be; called often, also without a packet. What
    /// became of their transactions is told afterwards.
    fn packets(&mut self, _: Vec<Seen>, _lost: u64) -> anyhow::Result<()> {
        Ok(())
    }
    /// Waits for the user to do something. May be dropped and called again at any
    /// time. Without a keyboard it waits for ever.
    fn input(&mut self) -> Pin<Box<dyn Future<Output = anyhow::Result<Wish>> + '_>> {
        Box::pin(std::future::pending())
    }
    /// It is this late, in kernel time; a few times a second.
    fn now(&mut self, _: Timestamp) {}
    /// Whether to wait, after the duration, until queries in flight are decided.
    fn settles(&self) -> bool {
        false
    }
    /// Whether the counters are read as soon as everything is attached, besides at
    /// the end of each interval.
    fn reads_at_once(&self) -> bool {
        false
    }
    /// Whether SIGHUP is no reason to end: it then calls [`Handler::reload`].
    fn reloads(&self) -> bool {
        false
    }
    /// The user asks for settings to be read again.
    fn reload(&mut self) {}
    /// The counters at the end of an interval; `last` when stopping.
    fn snapshot(&mut self, snapshot: &Snapshot, last: bool) -> anyhow::Result<()>;
}

/// Attaches and runs until the duration is over or a signal comes; or runs
/// through a recording of that.
pub(super) fn run(
    options: &WatchOptions,
    detail: Detail,
    every: Option<Duration>,
    handler: &mut dyn Handler,
) -> anyhow::Result<()> {
    if let Some(recording) = &options.replay {
        return playback::run(recording, options.duration, every, handler).map(drop);
    }
    // What is recorded serves every view.
    let detail = match detail {
        Detail::Names if options.record.is_some() => Detail::Transactions,
        detail => detail,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        let mut watch = Watch::start(options, detail)?;
        handler.watching(watch.session.roles())?;
        watch.run(options, every, handler).await
    })
}

struct Watch {
    session: Session,
    pipeline: Pipeline,
    identity: Identity,
    /// Reads as long as there is somebody to ask.
    _remotes: remotes::Reader,
    events_lost: u64,
    packets: Option<Vec<Seen>>,
    started: Instant,
    interrupt: Signal,
    terminate: Signal,
}

impl Watch {
    fn start(options: &WatchOptions, detail: Detail) -> anyhow::Result<Self> {
        let create = |file: &PathBuf| Pending::create(file, options.record_limits);
        let recording = options.record.as_ref().map(create).transpose()?;
        let mut identity = Identity::new(options.traffic.node.identity());
        let session = Session::start(&kernel::Options {
            ports: options.traffic.ports.clone(),
            trace: detail == Detail::Transactions,
            questions: detail != Detail::Counts,
            capture: options.capture,
            root_cgroup: identity.root_cgroup(),
        })?;
        session.sees_traffic()?;
        let node_files = if recording.is_some() { kernel::node_files_before() } else { Vec::new() };
        privileges::drop_unneeded().context("cannot drop privileges")?;
        let remotes = remotes::Reader::start(&options.traffic.node)?;
        identity.use_facts(remotes.facts());
        options.traffic.sources.ask(
            &options.traffic.node,
            &options.traffic.ports,
            &remotes.facts(),
        )?;
        let missing: Vec<Missing> = session
            .roles()
            .iter()
            .filter_map(|report| match &report.state {
                RoleState::Missing { reason } => {
                    Some(Missing { role: report.role.to_string(), reason: reason.clone() })
                }
                _ => None,
            })
            .collect();
        let blindness = blindness(&session);
        let engine = Engine::new(blindness.clone());
        let mut pipeline = Pipeline::new(engine, missing.clone(), session.clock());
        pipeline.is_of(options.traffic.node.name());
        if let Some(recording) = recording {
            let header = recording::header(options, detail, &session, blindness, missing.clone());
            pipeline.record(recording.start(header)?);
            recording::node_files(&mut pipeline, node_files, Phase::Before);
            let node = &options.traffic.node;
            recording::conntrack_owners(&mut pipeline, node, &mut identity, Phase::Before);
        }
        // Before anybody is told that we watch: whoever waits for that may end
        // us right then.
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let attached = session.attached();
        eprintln!(
            "dnsprobe: watching ({attached} of {} roles attached{})",
            attached + missing.len(),
            if missing.is_empty() {
                ""
            } else {
                "; `dnsprobe doctor` says what is missing and why"
            }
        );
        Ok(Self {
            session,
            pipeline,
            identity,
            _remotes: remotes,
            events_lost: 0,
            packets: options.capture.map(|_| Vec::new()),
            started: Instant::now(),
            interrupt,
            terminate,
        })
    }

    async fn run(
        &mut self,
        options: &WatchOptions,
        every: Option<Duration>,
        handler: &mut dyn Handler,
    ) -> anyhow::Result<()> {
        let mut sweep = interval(SWEEP.min(options.traffic.lost_after));
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A recording has readings also when nobody looks at them now.
        let read_every = every.or(options.record.is_some().then_some(RECORD_EVERY));
        let mut tick = interval(read_every.unwrap_or(Duration::from_secs(3600)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.tick().await;
        // Ten years stand for "until told to stop".
        let end = options.duration.unwrap_or(Duration::from_secs(10 * 365 * 86_400));
        let mut end = tokio::time::Instant::now() + end;
        let mut settling = false;
        let hang_up = handler.reloads().then(|| signal(SignalKind::hangup()));
        let mut hang_up = hang_up.transpose()?;
        if handler.reads_at_once() {
            self.read()?;
            handler.snapshot(&self.pipeline.snapshot(), false)?;
        }
        loop {
            tokio::select! {
                ready = self.session.wait() => {
                    ready?;
                    self.drain();
                }
                _ = sweep.tick() => {
                    self.drain();
                    self.sweep(options.traffic.lost_after, false);
                    self.pipeline.now(now_ns(), handler);
                }
                _ = tick.tick(), if read_every.is_some() => {
                    self.hand_over(handler)?;
                    self.read()?;
                    if every.is_some() {
                        let snapshot = self.pipeline.snapshot();
                        handler.snapshot(&snapshot, false)?;
                        if settling && snapshot.pods.iter().all(|pod| pod.total.in_flight == 0) {
                            break;
                        }
                    }
                }
                () = sleep_until(end) => {
                    if settling || !handler.settles() {
                        break;
                    }
                    settling = true;
                    end += options.traffic.lost_after + 2 * SWEEP;
                }
                () = told(&mut hang_up) => handler.reload(),
                wish = handler.input() => if wish? == Wish::Stop { break },
                _ = self.interrupt.recv() => break,
                _ = self.terminate.recv() => break,
            }
            self.hand_over(handler)?;
        }
        self.drain();
        self.sweep(options.traffic.lost_after, true);
        self.hand_over(handler)?;
        self.read()?;
        recording::finish(&mut self.pipeline, &options.traffic.node, &mut self.identity);
        handler.snapshot(&self.pipeline.snapshot(), true)
    }

    /// Takes in every event there is.
    fn drain(&mut self) {
        let Self { session, pipeline, identity, packets, .. } = self;
        session.new_cgroups(&mut |id, path| identity.learn(id, path));
        session.drain(&mut |observation| pipeline.observe(observation, identity));
        if let Some(packets) = packets {
            let clock = session.clock();
            session.packets(&mut |packet| {
                let owner = packet.owner.map(|key| identity.owner(key));
                packets.push(Seen { time: clock.timestamp(packet.at_ns), owner, packet });
            });
        }
    }

    /// Passes packets on, and what was decided.
    fn hand_over(&mut self, handler: &mut dyn Handler) -> anyhow::Result<()> {
        if let Some(packets) = &mut self.packets {
            handler.packets(std::mem::take(packets), self.session.packets_lost())?;
        }
        self.pipeline.hand_over(handler)
    }

    /// Decides queries that have waited too long. Events come first, because
    /// they hold the reasons.
    fn sweep(&mut self, lost_after: Duration, last: bool) {
        let Self { session, pipeline, identity, events_lost, .. } = self;
        let lost = session.events_lost();
        if lost > *events_lost {
            *events_lost = lost;
            pipeline.events_lost(now_ns());
        }
        session.sweep(lost_after, last, &mut |observation| {
            pipeline.observe(observation, identity);
        });
        let keep = u64::try_from((lost_after + FACT_GRACE).as_nanos()).unwrap_or(u64::MAX);
        pipeline.forget(now_ns().saturating_sub(keep));
    }

    /// Reads every counter.
    fn read(&mut self) -> anyhow::Result<()> {
        let reading = self.session.read().context("cannot read the counters")?;
        // Groups may have been made while that was read.
        let identity = &mut self.identity;
        self.session.new_cgroups(&mut |id, path| identity.learn(id, path));
        let since = self.started.elapsed();
        let time = Timestamp(SystemTime::now());
        self.pipeline.read(reading, time, since, &mut self.identity);
        Ok(())
    }
}

/// Waits for a signal; for ever where it is not asked for.
async fn told(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// What verdicts have to allow for.
fn blindness(session: &Session) -> Blindness {
    let missing = |role: kernel::Role| {
        session
            .roles()
            .iter()
            .any(|r| r.role == role && matches!(r.state, RoleState::Missing { .. }))
    };
    Blindness {
        drops: missing(kernel::Role::Drop) || missing(kernel::Role::QdiscDrop),
        transmit: missing(kernel::Role::Transmit),
        confirm: missing(kernel::Role::ConntrackConfirm),
        clash: missing(kernel::Role::ConntrackClash),
        purge: missing(kernel::Role::ConntrackPurge),
        table_full: missing(kernel::Role::ConntrackFull),
        ipvs: missing(kernel::Role::IpvsVerdict),
        icmp: missing(kernel::Role::NoListener),
        late_sending: session.sees_sending_late(),
        missing: kernel::Role::ALL
            .into_iter()
            .filter(|role| missing(*role))
            .map(|role| role.to_string())
            .collect(),
    }
}
