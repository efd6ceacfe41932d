//! What a command that watches does with what comes in, and what it wants of the loop.

use std::{num::NonZeroU8, pin::Pin, sync::Arc};

use dnsprobe_common::flow::Role;

use super::privileges::Attaching;
use crate::{
    capture::Seen,
    engine::{ConnectFailure, Query, Retry, Transaction, Verdict},
    identity::{Identify, Owner},
    kernel::{Reading, RoleReport},
    stats::Snapshot,
    time::Timestamp,
};

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
    /// Everything is attached; called inside the event loop, and again when hooks
    /// were planned anew.
    fn watching(&mut self, _hooks: &[RoleReport]) -> anyhow::Result<()> {
        Ok(())
    }
    /// An answered query; only when tracing or sampling.
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
    /// Whether hooks may have to be attached again.
    fn attaching(&self) -> Attaching {
        Attaching::Once
    }
    /// Asked after each reading: the detail to go on with when the hooks are to be
    /// planned anew.
    fn plan_anew(&mut self) -> Option<Detail> {
        None
    }
    /// They stay as they were: attaching them anew was refused.
    fn plan_refused(&mut self) {}
    /// The counters were read; before each snapshot, which says what most of them add
    /// up to.
    fn reading(&mut self, _: &Reading, _: &mut dyn Identify) {}
    /// Which processes' transactions are reported where not all are; see
    /// [`crate::kernel::Options::sample_bits`].
    fn sample_bits(&self) -> Option<NonZeroU8> {
        None
    }
    /// Whether the counters are read as soon as everything is attached, before
    /// [`Handler::watching`], besides at the end of each interval.
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
    fn snapshot(&mut self, snapshot: &Arc<Snapshot>, last: bool) -> anyhow::Result<()>;
}
