//! What is kept of a dnsprobe that runs; and whether its recording tells the
//! same as it did.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What is kept, if anything.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// Where what it prints goes.
    pub output: Option<PathBuf>,
    /// Where it records to.
    pub recording: Option<PathBuf>,
}

impl Keep {
    /// What dnsprobe has to be told.
    pub(super) fn arguments(&self) -> Vec<PathBuf> {
        self.recording.iter().flat_map(|file| ["--record".into(), file.clone()]).collect()
    }

    /// Keep what it printed.
    pub(super) fn write(&self, lines: &[String]) -> Result<()> {
        let Some(path) = &self.output else { return Ok(()) };
        fs::write(path, lines.join("\n") + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Lines of a view from a recording, in JSON, and what was said besides.
pub fn replay(program: &Path, recording: &Path, view: &[&str]) -> Result<(Vec<String>, String)> {
    let output = Command::new(program)
        .arg("replay")
        .arg(recording)
        .args(view)
        .args(["-o", "json"])
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // 1: a fault was found.
    ensure!(matches!(output.status.code(), Some(0 | 1)), "replay failed: {said}");
    let lines = String::from_utf8(output.stdout).context("replay printed no text")?;
    Ok((lines.lines().map(str::to_owned).collect(), said))
}

/// Fail unless a recording tells exactly what was printed when it was made.
pub(super) fn compare_replay(
    program: &Path,
    recording: &Path,
    view: &[&str],
    live: &[String],
) -> Result<()> {
    let (replayed, _) = replay(program, recording, view)?;
    for (number, (live, replayed)) in (1..).zip(live.iter().zip(&replayed)) {
        ensure!(live == replayed, "line {number} was\n{live}\nand replayed is\n{replayed}");
    }
    ensure!(live.len() == replayed.len(), "{} lines, and replayed {}", live.len(), replayed.len());
    Ok(())
}
