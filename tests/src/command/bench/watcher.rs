//! Who watches while traffic is timed.

use std::fmt;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use nix::sys::signal::Signal;
use nix::time::ClockId;
use serde::Serialize;

use crate::lab::Programs;
use crate::lab::process::{AMPLE, Process};

/// Which watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// None: what traffic costs by itself.
    Nobody,
    /// dnsprobe as a monitoring daemon would run: everything attached, nothing
    /// traced.
    Dnsprobe,
}

/// What a watcher said of itself when it was ready.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Started {
    /// Its own words.
    line: String,
    /// Hook roles in force, of those there are.
    roles: Option<[u32; 2]>,
}

/// A watcher at work.
#[derive(Debug)]
pub(super) struct Watcher {
    process: Option<Process>,
    started: Option<Started>,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nobody => "nobody",
            Self::Dnsprobe => "dnsprobe",
        })
    }
}

impl Watcher {
    /// Starts it and waits until it watches.
    pub(super) fn start(kind: Kind, programs: &Programs) -> Result<Self> {
        let (mut command, ready) = match kind {
            Kind::Nobody => return Ok(Self { process: None, started: None }),
            Kind::Dnsprobe => {
                // A guest reads it from outside, which is not what is measured.
                fs::read(&programs.dnsprobe)?;
                let mut command = Command::new(&programs.dnsprobe);
                command.args(["top", "--without-names", "-o", "json", "--interval", "1s"]);
                (command, "dnsprobe: watching")
            }
        };
        // Nobody reads what it prints: that would be work of ours on the same
        // processor.
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let mut process = Process::new(kind.to_string(), child);
        let line = process.wait_for(ready, AMPLE)?;
        let roles = roles(&line);
        ensure!(kind != Kind::Dnsprobe || roles.is_some(), "dnsprobe says {line:?}");
        Ok(Self { process: Some(process), started: Some(Started { line, roles }) })
    }

    /// What it said when it was ready.
    pub(super) fn started(&self) -> Option<Started> {
        self.started.clone()
    }

    /// Processor time that its process has used, in user space and system calls.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        let Some(process) = &self.process else { return Ok(Duration::ZERO) };
        let clock = ClockId::pid_cpu_clock_id(process.pid())?;
        Ok(Duration::from(clock.now()?))
    }

    /// Ends it.
    pub(super) fn stop(&mut self) -> Result<()> {
        let Some(process) = self.process.take() else { return Ok(()) };
        process.signal(Signal::SIGTERM)?;
        process.finish(AMPLE).map(drop)
    }
}

/// The two numbers of `dnsprobe: watching (17 of 17 roles attached)`.
fn roles(line: &str) -> Option<[u32; 2]> {
    let words = line.split_once('(')?.1.split_once(" roles")?.0;
    let (attached, of) = words.split_once(" of ")?;
    Some([attached.parse().ok()?, of.parse().ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attached_roles_are_read_from_dnsprobes_line() {
        assert_eq!(roles("dnsprobe: watching (17 of 18 roles attached)"), Some([17, 18]));
        assert_eq!(roles("dnsprobe: watching (3 of 4 roles attached; `x`)"), Some([3, 4]));
        assert_eq!(roles("something"), None);
    }
}
