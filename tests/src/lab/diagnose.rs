//! Running `dnsprobe diagnose` and collecting what it says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::pod::Directories;
use super::process::Process;
use super::recording::{Keep, compare_replay};
use crate::diagnosed::Diagnosis;

/// Attaching takes a second on hardware and several on an emulated processor.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// After this time without an answer a query is lost.
const LOST_AFTER: Duration = Duration::from_secs(2);
/// What is slow here: an emulated processor that has other work to do as well
/// takes long for what is no fault.
pub const SLOW_AFTER: Duration = Duration::from_millis(250);

/// A dnsprobe that looks for faults.
#[derive(Debug)]
pub struct Examination {
    process: Process,
    program: PathBuf,
    keep: Keep,
}

impl Examination {
    /// Start it and wait until everything is attached.
    pub fn start(program: &Path, directories: &Directories, keep: Keep) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .args(["diagnose", "-o", "json", "--duration", "1h"])
            .args(["--lost-after", &format!("{}ms", LOST_AFTER.as_millis())])
            .args(["--slow-after", &format!("{}ms", SLOW_AFTER.as_millis())])
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
        let mut process = Process::new("dnsprobe", child);
        process.wait_for("dnsprobe: watching", STARTS_WITHIN)?;
        Ok(Self { process, program: program.to_owned(), keep })
    }

    /// Give the last query time to be judged, stop dnsprobe, read what it found
    /// and what is wrong with that in any case. A recording must tell the same.
    pub fn finish(self) -> Result<(Diagnosis, Vec<String>)> {
        sleep(LOST_AFTER + Duration::from_millis(1500));
        self.process.signal(Signal::SIGINT)?;
        let (lines, code) = self.process.finish_with_code(Duration::from_secs(30), &[0, 1])?;
        self.keep.write(&lines)?;
        if let Some(recording) = &self.keep.recording {
            let slow_after = format!("{}ms", SLOW_AFTER.as_millis());
            let view = ["diagnose", "--slow-after", &slow_after];
            compare_replay(&self.program, recording, &view, &lines)?;
        }
        let diagnosis = Diagnosis::parse(&lines)?;
        let problems = diagnosis.problems(code);
        Ok((diagnosis, problems))
    }
}
