//! What `lab bench` writes, one JSON object per line
//! (`tests/src/command/bench/line.rs`).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::user_space::UserSpace;

/// Who watched while traffic was timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Watcher {
    Nobody,
    Dnsprobe,
    /// Empty programs where a DNS tool has to look.
    Floor,
    /// A latency histogram per cgroup in two lines.
    Bpftrace,
    /// A ring of capture files.
    Tcpdump,
}

impl Watcher {
    /// Those that dnsprobe is compared with.
    pub(super) const PEERS: [Self; 3] = [Self::Floor, Self::Bpftrace, Self::Tcpdump];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Dnsprobe => "dnsprobe",
            Self::Floor => "floor",
            Self::Bpftrace => "bpftrace",
            Self::Tcpdump => "tcpdump",
        }
    }
}

/// One line.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum Line {
    Row(Row),
    Watcher { watcher: Watcher, started: Option<Started> },
    Timing(Timing),
    Stopped { watcher: Watcher, said: Vec<String> },
    Start(Start),
    Program(Program),
    UserSpace(UserSpace),
    End,
}

/// A row that was to be measured.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Row {
    #[serde(rename = "row")]
    pub(super) name: String,
    pub(super) about: String,
    pub(super) unit: String,
    /// The row whose added cost is not this one's.
    pub(super) less: Option<String>,
}

/// What a watcher said when it was ready.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Started {
    /// Hook roles in force, of those there are.
    pub(super) roles: Option<[u32; 2]>,
}

/// A row under a watcher.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Timing {
    pub(super) row: String,
    pub(super) watcher: Watcher,
    pub(super) rounds: Vec<Round>,
}

/// One uninterrupted stretch of traffic; times in nanoseconds, which are guest
/// instructions.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Round {
    pub(super) units: u64,
    pub(super) elapsed_ns: u64,
    /// Processor time of the watcher's own process within that.
    pub(super) watcher_ns: u64,
}

/// A start of dnsprobe and its end; nanoseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Start {
    /// Kernel programs it loaded.
    pub(super) programs: usize,
    pub(super) attached_ns: u64,
    pub(super) ended_ns: u64,
    pub(super) freed_ns: u64,
}

/// A kernel program of dnsprobe after some traffic.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) runs: u64,
    pub(super) run_time_ns: u64,
    pub(super) verified_instructions: Option<u32>,
    /// File of its machine code.
    pub(super) code: String,
}

impl Round {
    /// Instructions per unit, without the watcher's own.
    pub(super) fn in_kernel(&self) -> f64 {
        self.elapsed_ns.saturating_sub(self.watcher_ns) as f64 / self.units as f64
    }
}

/// Everything one guest wrote. An error when it did not get to its end.
pub(super) fn read(file: &Path) -> Result<Vec<Line>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("the guest left no {}", file.display()))?;
    parse(&text).with_context(|| format!("{}", file.display()))
}

fn parse(text: &str) -> Result<Vec<Line>> {
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect::<Result<Vec<Line>>>()?;
    ensure!(matches!(lines.last(), Some(Line::End)), "the measurements ended early");
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"kind":"row","row":"x","about":"a","unit":"packet","less":null}
{"kind":"watcher","watcher":"dnsprobe","started":{"line":"l","roles":[17,17]}}
{"kind":"timing","row":"x","watcher":"dnsprobe","rounds":[{"units":1,"elapsed_ns":2,"watcher_ns":3}]}
"#;

    #[test]
    fn the_labs_lines_are_read() {
        let lines = parse(&format!("{LINES}{{\"kind\":\"end\"}}\n")).unwrap();
        assert_eq!(lines.len(), 4);
        let Line::Timing(timing) = &lines[2] else { panic!("{:?}", lines[2]) };
        assert_eq!((timing.watcher, timing.rounds[0].elapsed_ns), (Watcher::Dnsprobe, 2));
    }

    #[test]
    fn a_guest_that_died_early_gave_no_measurements() {
        assert!(parse(LINES).is_err());
        assert!(parse("").is_err());
    }
}
