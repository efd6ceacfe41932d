//! dnsperf in a pod, and the statistics it prints.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::lab::Node;
use crate::lab::cast::{CART, COREDNS_0};
use crate::lab::process::AMPLE;
use crate::lab::server::NAMES;
use crate::lab::spec::{Spec, Wiring};

/// What the client itself counted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Asked {
    pub(super) sent: u64,
    pub(super) lost: u64,
    /// Answered, per second.
    pub(super) per_second: f64,
    pub(super) mean_seconds: f64,
    pub(super) max_seconds: f64,
}

/// Asks at this rate for so long.
pub(super) fn ask(node: &Node, rate: u32, seconds: u64) -> Result<Asked> {
    let names = node.directories().run.join("names.dnsperf");
    let text: String = NAMES.iter().map(|name| format!("{name} A\n")).collect();
    fs::write(&names, text)?;
    let client = Spec { wiring: Wiring::PointToPoint, ..CART };
    let server = Spec { wiring: Wiring::PointToPoint, ..COREDNS_0 };
    let mut command = Command::new("dnsperf");
    command
        .args(["-s", &server.address().to_string(), "-c", "4", "-q", "1000", "-t", "2"])
        .args(["-Q", &rate.to_string(), "-l", &seconds.to_string(), "-d"])
        .arg(&names);
    let lines = node.pod(&client)?.spawn(command)?.finish(AMPLE)?;
    Asked::parse(&lines).with_context(|| format!("dnsperf says {}", lines.join(" | ")))
}

impl Asked {
    fn parse(lines: &[String]) -> Option<Self> {
        let value = |name: &str| {
            let line = lines.iter().find_map(|line| line.trim().strip_prefix(name))?;
            Some(line.trim())
        };
        let first = |name: &str| value(name)?.split_whitespace().next();
        let latency = value("Average Latency (s):")?;
        let max = latency.split_once("max ")?.1.trim_end_matches(')');
        Some(Self {
            sent: first("Queries sent:")?.parse().ok()?,
            lost: first("Queries lost:")?.parse().ok()?,
            per_second: first("Queries per second:")?.parse().ok()?,
            mean_seconds: latency.split_whitespace().next()?.parse().ok()?,
            max_seconds: max.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dnsperfs_statistics_are_read() {
        let text = "Statistics:\n\n  Queries sent:         1000\n  Queries completed:    998 \
            (99.80%)\n  Queries lost:         2 (0.20%)\n\n  Run time (s):         1.0\n  \
            Queries per second:   998.5\n\n  Average Latency (s):  0.000120 (min 0.00003, max \
            0.002)\n  Latency StdDev (s):   0.00001\n";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let expected = Asked {
            sent: 1000,
            lost: 2,
            per_second: 998.5,
            mean_seconds: 0.000_12,
            max_seconds: 0.002,
        };
        assert_eq!(Asked::parse(&lines), Some(expected));
        assert_eq!(Asked::parse(&[]), None);
    }
}
