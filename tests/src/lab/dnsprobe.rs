//! Running the dnsprobe under test and collecting what it says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::pod::Directories;
use super::process::{AMPLE, Process};
use super::recording::{Keep, compare_replay};
use crate::observed::Observed;

/// Which subcommand to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Counting.
    Top,
    /// One line per transaction.
    Trace,
    /// The query log of the servers here.
    ServerLog,
}

/// A dnsprobe that watches.
#[derive(Debug)]
pub struct Watch {
    process: Process,
    program: PathBuf,
    mode: Mode,
    lost_after: Duration,
    keep: Keep,
}

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Self::Top => "top",
            Self::Trace | Self::ServerLog => "trace",
        }
    }

    const fn format(self) -> &'static str {
        match self {
            Self::Top | Self::Trace => "json",
            Self::ServerLog => "coredns",
        }
    }
}

impl Watch {
    /// Start it and wait until everything is attached.
    pub fn start(
        program: &Path,
        mode: Mode,
        lost_after: Duration,
        directories: &Directories,
        keep: Keep,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .args(Self::arguments(mode, lost_after))
            .arg("--log-dir")
            .arg(&directories.logs)
            .arg("--cgroup-root")
            .arg(&directories.cgroups)
            .args(keep.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child =
            command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Self::of(Process::new("dnsprobe", child), program, mode, lost_after, keep)
    }

    /// Arguments of a dnsprobe that watches.
    #[must_use]
    pub fn arguments(mode: Mode, lost_after: Duration) -> Vec<String> {
        let lost_after = format!("{}ms", lost_after.as_millis());
        [mode.name(), "-o", mode.format(), "--lost-after", &lost_after].map(str::to_owned).to_vec()
    }

    /// Take charge of one that was started otherwise, and wait until everything is
    /// attached.
    pub fn of(
        mut process: Process,
        program: &Path,
        mode: Mode,
        lost_after: Duration,
        keep: Keep,
    ) -> Result<Self> {
        process.wait_for("dnsprobe: watching", AMPLE)?;
        Ok(Self { process, program: program.to_owned(), mode, lost_after, keep })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.process.pid().as_raw()
    }

    /// [`Self::finish`] for one that is the only child of the process that was
    /// started.
    pub fn finish_inside(self) -> Result<Observed> {
        let pid = self.process.only_child(AMPLE)?;
        Observed::parse(&self.finish_by(pid)?)
    }

    /// Hear what it prints, as it prints it, for this long.
    pub fn listen(&mut self, time: Duration, hear: impl FnMut(&str)) {
        self.process.listen(time, hear);
    }

    /// Give the last query time to be judged, stop dnsprobe, read its output. A
    /// recording must tell the same.
    pub fn finish(self) -> Result<Observed> {
        Observed::parse(&self.finish_lines()?)
    }

    /// The same, for what it printed as it is.
    pub fn finish_lines(self) -> Result<Vec<String>> {
        let pid = self.process.pid();
        self.finish_by(pid)
    }

    fn finish_by(self, pid: Pid) -> Result<Vec<String>> {
        sleep(self.lost_after + Duration::from_millis(1500));
        kill(pid, Signal::SIGINT).context("cannot stop dnsprobe")?;
        let lines = self.process.finish(AMPLE)?;
        self.keep.write(&lines)?;
        // A server's log is replayed from the same observations as the JSON is.
        if let Some(recording) = &self.keep.recording
            && self.mode != Mode::ServerLog
        {
            compare_replay(&self.program, recording, &[self.mode.name()], &lines)?;
        }
        Ok(lines)
    }
}
