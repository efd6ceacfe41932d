//! What a scenario plays on: the node, the programs, and the things nearly
//! every scenario does.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::client::query;
use crate::lab::clients::Client;
use crate::lab::dnsprobe::{Mode, Watch};
use crate::lab::kernel::Kernel;
use crate::lab::recording::Keep;
use crate::lab::spec::Spec;
use crate::lab::{Node, Pod, Programs};

/// After this time without an answer a query is lost, unless a scenario says
/// otherwise: longer than any answer takes here, shorter than a test's
/// patience.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(2);

/// A node with nothing but the defaults, and what runs on it.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The node.
    pub node: &'a Node,
    /// The programs.
    pub programs: &'a Programs,
    /// The kernel.
    pub kernel: Kernel,
    /// What is kept of dnsprobe's work.
    pub keep: Keep,
}

impl Stage<'_> {
    pub(super) fn pod(&self, spec: &Spec) -> Result<&Pod> {
        self.node.pod(spec)
    }

    /// `dnsprobe top` that watches.
    pub(super) fn top(&self) -> Result<Watch> {
        self.watch(Mode::Top, LOST_AFTER)
    }

    /// dnsprobe in any mode.
    pub(super) fn watch(&self, mode: Mode, lost_after: Duration) -> Result<Watch> {
        let program: &Path = &self.programs.dnsprobe;
        Watch::start(program, mode, lost_after, self.node.directories(), self.keep.clone())
    }

    /// Queries from the pod nothing ever happens to, for about a second.
    pub(super) fn healthy_pod(&self, server: impl Into<IpAddr>) -> Result<Client> {
        let args = query::Args { interval_ms: 60, ..query::Args::new(server, 15) };
        self.programs.query(self.pod(&crate::lab::cast::CART)?, &args)
    }
}

/// A problem unless both numbers are the same.
pub(super) fn same(what: &str, one: u64, other: u64) -> Option<String> {
    (one != other).then(|| format!("{what}: {one} and {other} should be the same"))
}
