//! What `lab bench` writes: one JSON object per line. `cargo xtask bench` reads
//! them (`xtask/src/bench/line.rs`).

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::watcher::{Kind, Started};

/// One line.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum Line<'a> {
    /// A row that will be measured.
    Row { row: &'a str, about: &'a str, unit: &'a str, less: Option<&'a str> },
    /// From here on this one watches.
    Watcher { watcher: Kind, started: Option<Started> },
    /// It ended, and said this.
    Stopped { watcher: Kind, said: Vec<String> },
    /// A row under a watcher.
    Timing { row: &'a str, watcher: Kind, rounds: Vec<Round> },
    /// One start of dnsprobe, and its end.
    Start(Start),
    /// Its own process.
    UserSpace(UserSpace),
    /// One of its kernel programs.
    Program(Program),
    /// Everything was measured.
    End,
}

/// One uninterrupted stretch of traffic.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Round {
    /// Transactions, packets or whatever the row counts.
    pub(super) units: u64,
    pub(super) elapsed_ns: u64,
    /// Processor time of the watcher's own process within that.
    pub(super) watcher_ns: u64,
}

/// Times in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Start {
    /// Kernel programs it loaded.
    pub(super) programs: usize,
    /// From before the process was made until it said that it watches.
    pub(super) attached_ns: u64,
    /// From the signal until the process was gone.
    pub(super) ended_ns: u64,
    /// From the signal until the kernel had none of its programs any more.
    pub(super) freed_ns: u64,
}

/// dnsprobe's process with so many pods, idle and with traffic.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct UserSpace {
    pub(super) pods: u32,
    pub(super) queries_per_second: u32,
    pub(super) idle_wake_ups_per_second: f64,
    pub(super) wake_ups_per_second: f64,
    /// Processor time per second: one reading, rendered, and four sweeps.
    pub(super) idle_ns_per_second: u64,
    pub(super) ns_per_second: u64,
    pub(super) resident_bytes: u64,
    /// Calls of the allocator, idle.
    pub(super) allocations_per_second: f64,
}

/// A kernel program of dnsprobe after some traffic.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Program {
    pub(super) name: String,
    /// That many with DNS, and as many others.
    pub(super) transactions: u32,
    pub(super) runs: u64,
    /// With the kernel's own measuring of it.
    pub(super) run_time_ns: u64,
    pub(super) xlated_bytes: u32,
    /// Those the verifier went through; unknown before 5.16.
    pub(super) verified_instructions: Option<u32>,
    /// File of its machine code, beside the lines.
    pub(super) code: String,
}

/// Time per unit over all rounds, nanoseconds.
pub(super) fn per_unit(rounds: &[Round]) -> f64 {
    let sum = |part: fn(&Round) -> u64| rounds.iter().map(part).sum::<u64>() as f64;
    sum(|round| round.elapsed_ns) / sum(|round| round.units)
}

/// The file they go to.
#[derive(Debug)]
pub(super) struct Lines {
    file: File,
}

impl Lines {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { file })
    }

    pub(super) fn write(&mut self, line: &Line<'_>) -> Result<()> {
        let text = serde_json::to_string(line)? + "\n";
        self.file.write_all(text.as_bytes()).context("cannot write a measurement")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_count_by_their_units() {
        let round = |units, elapsed_ns| Round { units, elapsed_ns, watcher_ns: 0 };
        assert!((per_unit(&[round(1, 10), round(3, 50)]) - 15.0).abs() < 1e-9);
    }

    #[test]
    fn a_line_says_what_it_is() {
        let rounds = vec![Round { units: 1, elapsed_ns: 2, watcher_ns: 3 }];
        let line = Line::Timing { row: "x", watcher: Kind::Nobody, rounds };
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"kind":"timing","row":"x","watcher":"nobody","rounds":[{"units":1,"elapsed_ns":2,"watcher_ns":3}]}"#
        );
    }
}
