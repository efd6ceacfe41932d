//! The watchers there are, and how each is started.

use std::fmt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

use crate::lab::Programs;

/// Which watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in super::super) enum Kind {
    /// None: what traffic costs by itself.
    Nobody,
    /// dnsprobe as a monitoring daemon would run: everything attached, nothing
    /// traced.
    Dnsprobe,
    /// Empty programs where a DNS tool has to look: what the approach costs.
    Floor,
    /// A latency histogram in two lines.
    Bpftrace,
    /// What operators are told to do.
    Tcpdump,
}

/// Three programs of two instructions each (`r0 = 0; exit`: bpftool prog dump
/// xlated), called by trampolines.
const FLOOR: &str = "kfunc:ip_send_skb {} kfunc:__udp_enqueue_schedule_skb {} \
    kfunc:skb_consume_udp {}";

/// No look at ports or ids: the same for all UDP traffic.
const HISTOGRAM: &str = "kprobe:udp_sendmsg { @sent[arg0] = nsecs; } \
    kprobe:skb_consume_udp /@sent[arg0]/ { \
        @latency[cgroup] = hist(nsecs - @sent[arg0]); delete(@sent[arg0]); }";

/// In the guest's memory; as many files of as many megabytes as the advice has.
const TCPDUMP: &str = "tcpdump -i any port 53 -C 20 -W 200 -w /tmp/bench.pcap -Z root";

impl Kind {
    /// How it is started, and what it says on standard error when it is ready
    /// or about to be; `None` where there is nobody.
    pub(super) fn command(self, programs: &Programs) -> Option<(Command, &'static str)> {
        match self {
            Self::Nobody => None,
            Self::Dnsprobe => {
                let mut command = Command::new(&programs.dnsprobe);
                command.args(["top", "--without-names", "-o", "json", "--interval", "1s"]);
                Some((command, "dnsprobe: watching"))
            }
            Self::Floor => Some((bpftrace(FLOOR), "Attaching 3 probes")),
            Self::Bpftrace => Some((bpftrace(HISTOGRAM), "Attaching 2 probes")),
            Self::Tcpdump => {
                let mut command = Command::new("sh");
                command.args(["-c", &format!("exec {TCPDUMP}")]);
                Some((command, "listening on any"))
            }
        }
    }

    /// Whether it is one of the others that dnsprobe is compared with.
    pub(in super::super) const fn is_peer(self) -> bool {
        !matches!(self, Self::Nobody | Self::Dnsprobe)
    }

    /// An error when what it said last shows that it saw no traffic; then its
    /// cost is none. Without DNS among it, tcpdump has nothing to see.
    pub(super) fn check(self, said: &[String], dns: bool) -> Result<()> {
        match self {
            Self::Bpftrace => ensure!(histogram_sum(said) > 0, "bpftrace counted nothing"),
            Self::Tcpdump if dns => {
                let captured = said.iter().find_map(|line| {
                    line.strip_suffix(" packets captured")?.trim().parse::<u64>().ok()
                });
                let captured = captured.context("tcpdump does not say what it captured")?;
                ensure!(captured > 0, "tcpdump captured nothing");
            }
            Self::Nobody | Self::Dnsprobe | Self::Floor | Self::Tcpdump => {}
        }
        Ok(())
    }
}

/// With everything on standard error, where we listen.
fn bpftrace(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec bpftrace -B line -e "$0" 1>&2"#, script]);
    command
}

/// Counts of all buckets, as in `[4K, 8K)    123 |@@@   |`.
fn histogram_sum(lines: &[String]) -> u64 {
    lines
        .iter()
        .filter_map(|line| {
            let bucket = line.trim().strip_prefix('[')?;
            bucket.split_once(')')?.1.split_once('|')?.0.trim().parse::<u64>().ok()
        })
        .sum()
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nobody => "nobody",
            Self::Dnsprobe => "dnsprobe",
            Self::Floor => "floor",
            Self::Bpftrace => "bpftrace",
            Self::Tcpdump => "tcpdump",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_histograms_buckets_are_summed() {
        let said = lines("@latency[7]: \n[4K, 8K)  12 |@@@  |\n[8K, 16K)  3 |  |\n\n@sent[1]: 5\n");
        assert_eq!(histogram_sum(&said), 15);
        assert!(Kind::Bpftrace.check(&said, false).is_ok());
        assert!(Kind::Bpftrace.check(&lines("Attaching 2 probes...\n"), false).is_err());
    }

    #[test]
    fn a_tcpdump_that_captured_nothing_is_no_peer() {
        assert!(
            Kind::Tcpdump.check(&lines("7 packets captured\n0 packets dropped\n"), true).is_ok()
        );
        assert!(Kind::Tcpdump.check(&lines("0 packets captured\n"), true).is_err());
        assert!(Kind::Tcpdump.check(&lines("0 packets captured\n"), false).is_ok());
        assert!(Kind::Tcpdump.check(&[], true).is_err());
    }
}
