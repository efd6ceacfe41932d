//! Two handlers of one watch, each with its own purpose.

use std::{pin::Pin, sync::Arc};

use dnsprobe_common::flow::Role;

use super::watch::{Handler, Wish};
use crate::{
    engine::{ConnectFailure, Query, Retry, Transaction, Verdict},
    identity::Owner,
    kernel::RoleReport,
    stats::Snapshot,
    time::Timestamp,
};

/// Tells both everything, the first one first. The keyboard is the first one's.
pub(super) struct Beside<'a>(pub(super) &'a mut dyn Handler, pub(super) &'a mut dyn Handler);

impl Handler for Beside<'_> {
    fn watching(&mut self, hooks: &[RoleReport]) -> anyhow::Result<()> {
        self.0.watching(hooks)?;
        self.1.watching(hooks)
    }

    fn transaction(&mut self, transaction: &Transaction) -> anyhow::Result<()> {
        self.0.transaction(transaction)?;
        self.1.transaction(transaction)
    }

    fn verdict(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        self.0.verdict(verdict)?;
        self.1.verdict(verdict)
    }

    fn not_followed(
        &mut self,
        owner: &Arc<Owner>,
        role: Role,
        query: &Query,
    ) -> anyhow::Result<()> {
        self.0.not_followed(owner, role, query)?;
        self.1.not_followed(owner, role, query)
    }

    fn retry(&mut self, retry: &Retry) -> anyhow::Result<()> {
        self.0.retry(retry)?;
        self.1.retry(retry)
    }

    fn connect_failed(&mut self, failure: &ConnectFailure) -> anyhow::Result<()> {
        self.0.connect_failed(failure)?;
        self.1.connect_failed(failure)
    }

    fn input(&mut self) -> Pin<Box<dyn Future<Output = anyhow::Result<Wish>> + '_>> {
        self.0.input()
    }

    fn now(&mut self, now: Timestamp) {
        self.0.now(now);
        self.1.now(now);
    }

    fn settles(&self) -> bool {
        self.0.settles() || self.1.settles()
    }

    fn reads_at_once(&self) -> bool {
        self.0.reads_at_once() || self.1.reads_at_once()
    }

    fn reloads(&self) -> bool {
        self.0.reloads() || self.1.reloads()
    }

    fn reload(&mut self) {
        self.0.reload();
        self.1.reload();
    }

    fn snapshot(&mut self, snapshot: &Arc<Snapshot>, last: bool) -> anyhow::Result<()> {
        self.0.snapshot(snapshot, last)?;
        self.1.snapshot(snapshot, last)
    }
}
