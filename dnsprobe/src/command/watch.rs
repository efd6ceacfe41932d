//! What `top` and `trace` share: attach, then turn events and counters into
//! outcomes and snapshots until told to stop.

use std::{
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep_until},
};

pub(super) use super::handler::{Detail, Handler, Wish};
use super::{WatchOptions, hooks, pipeline::Pipeline, playback, privileges, recording, remotes};
use crate::{
    capture::Seen,
    cri,
    engine::Engine,
    identity::{Identify, Identity},
    kernel::{self, Session, now_ns},
    record::{Pending, Phase},
    time::Timestamp,
};

/// How often unanswered queries are looked for.
const SWEEP: Duration = Duration::from_millis(250);

/// How often the counters are read at least, also when nobody looks at them: a
/// recording holds them, and idle aggregates make room for new ones only then.
const READ_EVERY: Duration = Duration::from_secs(1);

/// How often memory that was freed is given back: pods that come and go leave holes.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// How long facts outlive the moment a query counts as lost.
const FACT_GRACE: Duration = Duration::from_secs(5);

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
        let mut watch = Watch::start(options, detail, handler)?;
        if handler.reads_at_once() {
            watch.read(handler)?;
            handler.snapshot(&watch.pipeline.snapshot(), false)?;
        }
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
    tidied: Instant,
    interrupt: Signal,
    terminate: Signal,
}

impl Watch {
    fn start(
        options: &WatchOptions,
        detail: Detail,
        handler: &dyn Handler,
    ) -> anyhow::Result<Self> {
        let create = |file: &PathBuf| Pending::create(file, options.record_limits);
        let recording = options.record.as_ref().map(create).transpose()?;
        let mut identity = Identity::new(options.traffic.node.identity());
        let mut session = hooks::attach(options, detail, handler.sample_bits(), &identity)?;
        session.follow(true)?;
        let node_files = if recording.is_some() { kernel::node_files_before() } else { Vec::new() };
        privileges::drop_unneeded(handler.attaching()).context("cannot drop privileges")?;
        let remotes = remotes::Reader::start(&options.traffic.node)?;
        identity.use_facts(remotes.facts());
        if let Some(socket) = options.traffic.node.cri_socket() {
            cri::start(socket, remotes.facts()).context("cannot ask the container runtime")?;
        }
        options.traffic.sources.ask(
            &options.traffic.node,
            &options.traffic.ports,
            &remotes.facts(),
        )?;
        let missing = hooks::missing(&session);
        let blindness = hooks::blindness(&session);
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
            tidied: Instant::now(),
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
        let mut tick = interval(every.unwrap_or(READ_EVERY));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut read = Instant::now();
        let mut window = read;
        // Later ones would end the window in a replay.
        let window_ends =
            every.unwrap_or(READ_EVERY).mul_f64(1.0 - 1.0 / f64::from(playback::EARLY));
        let not_after = window_ends.saturating_sub(2 * SWEEP);
        tick.tick().await;
        // Ten years stand for "until told to stop".
        let end = options.duration.unwrap_or(Duration::from_secs(10 * 365 * 86_400));
        let mut end = tokio::time::Instant::now() + end;
        let mut settling = false;
        let hang_up = handler.reloads().then(|| signal(SignalKind::hangup()));
        let mut hang_up = hang_up.transpose()?;
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
                    if read.elapsed() > READ_EVERY + SWEEP && window.elapsed() < not_after {
                        self.hand_over(handler)?;
                        self.read(handler)?;
                        read = Instant::now();
                    }
                }
                _ = tick.tick() => {
                    self.hand_over(handler)?;
                    self.read(handler)?;
                    read = Instant::now();
                    window = read;
                    if every.is_some() {
                        let snapshot = self.pipeline.snapshot();
                        handler.snapshot(&snapshot, false)?;
                        if settling && snapshot.pods.iter().all(|pod| pod.total.in_flight == 0) {
                            break;
                        }
                    }
                    if let Some(detail) = handler.plan_anew() {
                        self.plan_anew(options, detail, handler)?;
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
        self.read(handler)?;
        recording::finish(&mut self.pipeline, &options.traffic.node, &mut self.identity);
        handler.snapshot(&self.pipeline.snapshot(), true)
    }

    /// Attaches everything anew, and goes on counting where it was. The old hooks take
    /// no new query from the moment on that the new ones do, so none is counted twice;
    /// what is in flight at that moment is not followed any further. Where attaching is
    /// refused, all stays as it was.
    fn plan_anew(
        &mut self,
        options: &WatchOptions,
        detail: Detail,
        handler: &mut dyn Handler,
    ) -> anyhow::Result<()> {
        let (identity, sample_bits) = (&self.identity, handler.sample_bits());
        let attach = || hooks::attach(options, detail, sample_bits, identity);
        let mut new = match privileges::to_attach(attach) {
            Ok(session) => session,
            Err(error) => {
                eprintln!("dnsprobe: the hooks stay as they are: {error:#}");
                handler.plan_refused();
                return Ok(());
            }
        };
        self.session.follow(false)?;
        new.follow(true)?;
        self.drain();
        self.sweep(options.traffic.lost_after, true);
        self.hand_over(handler)?;
        self.read(handler)?;
        self.pipeline.plan_anew(Engine::new(hooks::blindness(&new)), hooks::missing(&new));
        self.session = new;
        self.events_lost = 0;
        handler.watching(self.session.roles())
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
    fn read(&mut self, handler: &mut dyn Handler) -> anyhow::Result<()> {
        let reading = self.session.read().context("cannot read the counters")?;
        // Groups may have been made while that was read.
        let identity = &mut self.identity;
        self.session.new_cgroups(&mut |id, path| identity.learn(id, path));
        handler.reading(&reading, identity);
        let since = self.started.elapsed();
        let time = Timestamp(SystemTime::now());
        self.pipeline.read(reading, time, since, &mut self.identity);
        if self.tidied.elapsed() >= TIDY_EVERY {
            kernel::give_back_memory();
            self.tidied = Instant::now();
        }
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
