//! Running the dnsprobe under test and collecting what it says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::pod::Directories;
use super::process::{AMPLE, Process};
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

impl Mode {
    /// The subcommand with its output format.
    fn arguments(self) -> [&'static str; 3] {
        match self {
            Self::Top => ["top", "-o", "json"],
            Self::Trace => ["trace", "-o", "json"],
            Self::ServerLog => ["trace", "-o", "coredns"],
        }
    }
}

/// A dnsprobe that watches.
#[derive(Debug)]
pub struct Watch {
    process: Process,
    lost_after: Duration,
    output: Option<PathBuf>,
}

impl Watch {
    /// Start it and wait until everything is attached. What it prints is also
    /// kept in `output`.
    pub fn start(
        program: &Path,
        mode: Mode,
        lost_after: Duration,
        directories: &Directories,
        output: Option<PathBuf>,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .args(mode.arguments())
            .args(["--lost-after", &format!("{}ms", lost_after.as_millis())])
            .arg("--log-dir")
            .arg(&directories.logs)
            .arg("--cgroup-root")
            .arg(&directories.cgroups)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child =
            command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let mut process = Process::new("dnsprobe", child);
        process.wait_for("dnsprobe: watching", AMPLE)?;
        Ok(Self { process, lost_after, output })
    }

    /// Hear what it prints, as it prints it, for this long.
    pub fn listen(&mut self, time: Duration, hear: impl FnMut(&str)) {
        self.process.listen(time, hear);
    }

    /// Give the last query time to be judged, stop dnsprobe, read its output.
    pub fn finish(self) -> Result<Observed> {
        Observed::parse(&self.finish_lines()?)
    }

    /// The same, for what it printed as it is.
    pub fn finish_lines(self) -> Result<Vec<String>> {
        sleep(self.lost_after + Duration::from_millis(1500));
        self.process.signal(Signal::SIGINT)?;
        let lines = self.process.finish(AMPLE)?;
        if let Some(path) = self.output {
            fs::write(&path, lines.join("\n") + "\n")
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(lines)
    }
}
