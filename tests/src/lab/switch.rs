//! A dropping rule that is switched on and off while clients ask.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::node::Node;
use super::spec::Spec;

/// Sees the queries of one pod go through FORWARD, and drops them while it is
/// on.
#[derive(Debug)]
pub struct Switch<'a> {
    node: &'a Node,
    source: String,
}

/// Which of its two rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Count,
    Drop,
}

impl Rule {
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Count => ("lab-count", ""),
            Self::Drop => ("lab-drop", "-j DROP"),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

impl<'a> Switch<'a> {
    /// Off at first. Load other rules before.
    pub fn new(node: &'a Node, pod: &Spec) -> Result<Self> {
        let switch = Self { node, source: pod.address().to_string() };
        switch.change("-I", Rule::Count)?;
        Ok(switch)
    }

    /// Drop from now on.
    pub fn on(&self) -> Result<()> {
        self.change("-I", Rule::Drop)
    }

    /// Let everything pass again.
    pub fn off(&self) -> Result<()> {
        self.change("-D", Rule::Drop)
    }

    /// Wait until so many queries have passed in all.
    pub fn wait_for_passed(&self, count: u64) -> Result<()> {
        self.wait(Rule::Count, count)
    }

    /// Wait until so many queries were dropped since it was switched on.
    pub fn wait_for_dropped(&self, count: u64) -> Result<()> {
        self.wait(Rule::Drop, count)
    }

    fn change(&self, how: &str, rule: Rule) -> Result<()> {
        let (comment, target) = rule.words();
        let source = &self.source;
        let line = format!(
            "iptables-legacy -w {how} FORWARD -s {source} -p udp --dport 53 -m comment --comment {comment} {target}"
        );
        self.node.namespace().run(&line).map(drop)
    }

    fn wait(&self, rule: Rule, count: u64) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let listing = self.node.namespace().run("iptables-legacy -w -L FORWARD -n -v -x")?;
            let seen = packets(&listing, rule.words().0);
            if seen >= count {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{seen} of {count} queries met the {rule:?} rule");
            sleep(Duration::from_millis(20));
        }
    }
}

/// Packet counter of the rule with this comment.
fn packets(listing: &str, comment: &str) -> u64 {
    listing
        .lines()
        .find(|line| line.contains(&format!("/* {comment} */")))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_the_commented_rules() {
        let listing = "Chain FORWARD (policy ACCEPT 9 packets, 9 bytes)\n \
             pkts bytes target prot opt in out source destination\n \
             3 99 DROP 17 -- * * 10.244.0.17 0.0.0.0/0 udp dpt:53 /* lab-drop */\n \
             7 99      17 -- * * 10.244.0.17 0.0.0.0/0 udp dpt:53 /* lab-count */\n";
        assert_eq!(packets(listing, "lab-drop"), 3);
        assert_eq!(packets(listing, "lab-count"), 7);
        assert_eq!(packets(listing, "other"), 0);
    }
}
