//! What `top` and `trace` share: attach, then turn events and counters into
//! outcomes and snapshots until told to stop.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;
use dnsprobe_common::flow::Role;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep_until},
};

use super::{WatchOptions, privileges};
use crate::{
    engine::{
        Blindness, ConnectFailure, Engine, Outcome, Query, Retries, Retry, Transaction, Verdict,
    },
    identity::{Identity, Owner},
    kernel::{self, RoleState, Session, now_ns},
    stats::{Completeness, Missing, PodStats, Snapshot},
    time::Timestamp,
};

/// How often unanswered queries are looked for.
const SWEEP: Duration = Duration::from_millis(250);

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

/// What a command does with what comes in.
pub(super) trait Handler {
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
    /// It is this late, in kernel time; a few times a second.
    fn now(&mut self, _: Timestamp) {}
    /// Whether to wait, after the duration, until queries in flight are decided.
    fn settles(&self) -> bool {
        false
    }
    /// The counters at the end of an interval; `last` when stopping.
    fn snapshot(&mut self, snapshot: &Snapshot, last: bool) -> anyhow::Result<()>;
}

/// Attaches and runs until the duration is over or a signal comes.
pub(super) fn run(
    options: &WatchOptions,
    detail: Detail,
    every: Option<Duration>,
    handler: &mut dyn Handler,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        let mut watch = Watch::start(options, detail)?;
        watch.run(options, every, handler).await
    })
}

struct Watch {
    session: Session,
    engine: Engine,
    retries: Retries,
    stats: PodStats,
    identity: Identity,
    outcomes: Vec<Outcome>,
    missing: Vec<Missing>,
    events_lost: u64,
    node: Option<String>,
    started: Instant,
    window: Instant,
    interrupt: Signal,
    terminate: Signal,
}

impl Watch {
    fn start(options: &WatchOptions, detail: Detail) -> anyhow::Result<Self> {
        let identity = Identity::new(options.node.identity());
        let session = Session::start(&kernel::Options {
            ports: options.ports.clone(),
            trace: detail == Detail::Transactions,
            questions: detail != Detail::Counts,
            root_cgroup: identity.root_cgroup(),
        })?;
        session.sees_traffic()?;
        privileges::drop_unneeded().context("cannot drop privileges")?;
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
        let engine = Engine::new(blindness(&session));
        let now = Instant::now();
        // Before anybody is told that we watch: whoever waits for that may end
        // us right then.
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let attached = session.attached();
        eprintln!(
            "dnsprobe: watching ({attached} of {} roles attached{})",
            session.roles().len(),
            if missing.is_empty() {
                ""
            } else {
                "; `dnsprobe doctor` says what is missing and why"
            }
        );
        Ok(Self {
            session,
            engine,
            retries: Retries::default(),
            stats: PodStats::new(),
            identity,
            outcomes: Vec::new(),
            missing,
            events_lost: 0,
            node: options.node.name(),
            started: now,
            window: now,
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
        let mut sweep = interval(SWEEP.min(options.lost_after));
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = interval(every.unwrap_or(Duration::from_secs(3600)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.tick().await;
        // Ten years stand for "until told to stop".
        let end = options.duration.unwrap_or(Duration::from_secs(10 * 365 * 86_400));
        let mut end = tokio::time::Instant::now() + end;
        let mut settling = false;
        loop {
            tokio::select! {
                ready = self.session.wait() => {
                    ready?;
                    self.drain();
                }
                _ = sweep.tick() => {
                    self.drain();
                    self.sweep(options.lost_after, false);
                    handler.now(self.session.clock().timestamp(now_ns()));
                }
                _ = tick.tick(), if every.is_some() => {
                    self.hand_over(handler)?;
                    let snapshot = self.snapshot();
                    handler.snapshot(&snapshot, false)?;
                    if settling && snapshot.pods.iter().all(|pod| pod.total.in_flight == 0) {
                        break;
                    }
                }
                () = sleep_until(end) => {
                    if settling || !handler.settles() {
                        break;
                    }
                    settling = true;
                    end += options.lost_after + 2 * SWEEP;
                }
                _ = self.interrupt.recv() => break,
                _ = self.terminate.recv() => break,
            }
            self.hand_over(handler)?;
        }
        self.drain();
        self.sweep(options.lost_after, true);
        self.hand_over(handler)?;
        let snapshot = self.snapshot();
        handler.snapshot(&snapshot, true)
    }

    /// Takes in every event there is.
    fn drain(&mut self) {
        let Self { session, engine, identity, outcomes, .. } = self;
        let clock = session.clock();
        session.new_cgroups(&mut |id, path| identity.learn(id, path));
        session.drain(&mut |observation| {
            engine.observe(observation, identity, &clock, &mut |outcome| outcomes.push(outcome));
        });
    }

    /// Decides queries that have waited too long. Events come first, because
    /// they hold the reasons.
    fn sweep(&mut self, lost_after: Duration, last: bool) {
        let Self { session, engine, identity, outcomes, events_lost, .. } = self;
        let lost = session.events_lost();
        if lost > *events_lost {
            *events_lost = lost;
            engine.events_lost(now_ns());
        }
        let clock = session.clock();
        session.sweep(lost_after, last, &mut |observation| {
            engine.observe(observation, identity, &clock, &mut |outcome| outcomes.push(outcome));
        });
        let keep = u64::try_from((lost_after + FACT_GRACE).as_nanos()).unwrap_or(u64::MAX);
        engine.forget(now_ns().saturating_sub(keep));
    }

    /// Counts what was decided and passes it on.
    fn hand_over(&mut self, handler: &mut dyn Handler) -> anyhow::Result<()> {
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

    fn snapshot(&mut self) -> Snapshot {
        let identity = &mut self.identity;
        let reading = self.session.read();
        // Groups may have been made while that was read.
        self.session.new_cgroups(&mut |id, path| identity.learn(id, path));
        self.stats.read(reading.stats, identity);
        let now = Instant::now();
        let window = now - self.window;
        self.window = now;
        let mut snapshot = self.stats.snapshot(
            Timestamp(SystemTime::now()),
            window,
            now - self.started,
            Completeness {
                missing: self.missing.clone(),
                lost_events: reading.events_lost,
                in_flight_full: reading.in_flight_full,
                stats_full: reading.stats_full,
                tcp_unread: reading.tcp_unread,
                missed_runs: reading.missed_runs,
                ..Completeness::default()
            },
        );
        snapshot.node.clone_from(&self.node);
        snapshot
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
