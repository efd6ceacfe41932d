//! Who watches while traffic is timed.

mod kind;

use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use nix::time::ClockId;
use nix::unistd::Pid;
use serde::Serialize;

pub(super) use self::kind::Kind;
use crate::lab::Programs;
use crate::lab::process::{AMPLE, Process};

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
    kind: Kind,
    process: Option<Process>,
    started: Option<Started>,
}

impl Watcher {
    /// Starts it and waits until it watches.
    pub(super) fn start(kind: Kind, programs: &Programs) -> Result<Self> {
        let Some((mut command, ready)) = kind.command(programs) else {
            return Ok(Self { kind, process: None, started: None });
        };
        // A guest reads it from outside, which is not what is measured.
        fs::read(&programs.dnsprobe)?;
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
        let started = Some(Started { line, roles });
        let watcher = Self { kind, process: Some(process), started };
        if kind.is_peer() {
            watcher.settle()?;
        }
        Ok(watcher)
    }

    /// Waits until its process has nothing to do but look around now and then.
    fn settle(&self) -> Result<()> {
        const PATIENCE: u32 = 60;
        let mut before = self.processor_time()?;
        for _ in 0..PATIENCE {
            sleep(Self::PAUSE);
            let now = self.processor_time()?;
            if now - before < Self::PAUSE / 50 {
                return Ok(());
            }
            before = now;
        }
        bail!("{} is still busy after {PATIENCE} s", self.kind)
    }

    /// Long beyond any pause between two steps of starting.
    const PAUSE: Duration = Duration::from_secs(1);

    /// What it said when it was ready.
    pub(super) fn started(&self) -> Option<Started> {
        self.started.clone()
    }

    /// Its process, if there is one.
    pub(super) fn process(&self) -> Option<Pid> {
        self.process.as_ref().map(Process::pid)
    }

    /// Processor time that its process has used, in user space and system calls.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        let Some(process) = &self.process else { return Ok(Duration::ZERO) };
        let clock = ClockId::pid_cpu_clock_id(process.pid())?;
        Ok(Duration::from(clock.now()?))
    }

    /// Ends it; an error when it did not see the traffic, `dns` among it or not.
    /// What it said last.
    pub(super) fn stop(self, dns: bool) -> Result<Vec<String>> {
        let Some(process) = self.process else { return Ok(Vec::new()) };
        process.signal(if self.kind.is_peer() { Signal::SIGINT } else { Signal::SIGTERM })?;
        let said = process.finish_with_errors(AMPLE)?;
        self.kind.check(&said, dns)?;
        Ok(said)
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
