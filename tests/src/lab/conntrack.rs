//! The kernel's own conntrack counters and entries, read over ctnetlink.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::node::Node;

/// How long a client may take to start and to send.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until a UDP flow from this address has an entry.
///
/// # Errors
/// When there is none for [`PATIENCE`], or the table cannot be read.
pub fn wait_for_entry(node: &Node, source: IpAddr) -> Result<()> {
    let start = Instant::now();
    loop {
        let listed = node.namespace().run(&format!("conntrack -L -p udp --orig-src {source}"))?;
        if !listed.trim().is_empty() {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "{source} has no conntrack entry after {PATIENCE:?}");
        sleep(Duration::from_millis(20));
    }
}

/// Sums over all processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Entries that could not be inserted.
    pub insert_failed: u64,
    /// Packets dropped by conntrack.
    pub drop: u64,
    /// Clashes that were resolved.
    pub clash_resolve: u64,
    /// Entries that could not be inserted because a chain was too long.
    pub chaintoolong: u64,
}

impl Counters {
    /// Read them on this node.
    pub fn read(node: &Node) -> Result<Self> {
        Ok(Self::parse(&node.namespace().run("conntrack -S")?))
    }

    fn parse(text: &str) -> Self {
        let sum = |name: &str| {
            text.split_whitespace()
                .filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok())
                .sum()
        };
        Self {
            insert_failed: sum("insert_failed"),
            drop: sum("drop"),
            clash_resolve: sum("clash_resolve"),
            chaintoolong: sum("chaintoolong"),
        }
    }

    /// What happened since `before`.
    #[must_use]
    pub const fn since(&self, before: &Self) -> Self {
        Self {
            insert_failed: self.insert_failed - before.insert_failed,
            drop: self.drop - before.drop,
            clash_resolve: self.clash_resolve - before.clash_resolve,
            chaintoolong: self.chaintoolong - before.chaintoolong,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_summed() {
        let counters = Counters::parse(
            "cpu=0 found=1 insert_failed=2 drop=3 early_drop=9 clash_resolve=1 chaintoolong=2\n\
             cpu=1 found=1 insert_failed=1 drop=0 early_drop=9 clash_resolve=4 \n",
        );
        let sums = Counters { insert_failed: 3, drop: 3, clash_resolve: 5, chaintoolong: 2 };
        assert_eq!(counters, sums);
    }
}
