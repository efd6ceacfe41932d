//! The load ladder: `lab load` in a guest with two processors, or on this
//! machine's own kernel. Its times are real ones, so it has no bars.

use std::ffi::OsString;
use std::fs;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::lab_guest::{LabGuest, Lines};
use crate::shell;
use crate::vm;
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Climbs in a guest with this kernel.
pub(super) fn in_guest(workspace: &Workspace, series: &str) -> Result<ExitCode> {
    let guest = LabGuest {
        label: series.to_owned(),
        kernel: vm::find_kernel(workspace, series)?,
        exact_clock: false,
        limit: LIMIT,
        arguments: ["load", "--out", "/out/load.jsonl"].map(str::to_owned).to_vec(),
        out: workspace.target().join("bench").join("load").join(series),
    };
    let started = Instant::now();
    let ended = guest.run(workspace, Lines::out(), &Arc::new(Mutex::new(Vec::new())))?;
    ended.explain(workspace, started.elapsed());
    Ok(ExitCode::from(ended.code()))
}

/// Climbs on this machine.
pub(super) fn on_this_machine(workspace: &Workspace) -> Result<ExitCode> {
    ensure!(shell::is_root(), "--native needs root");
    let out = workspace.target().join("bench").join("load").join("native");
    fs::create_dir_all(&out)?;
    let mut path = OsString::from(shell::SYSTEM_PATH);
    if let Some(own) = std::env::var_os("PATH") {
        path.push(":");
        path.push(own);
    }
    let status = Command::new(workspace.release_binary("lab"))
        .args(["load", "--native", "--out"])
        .arg(out.join("load.jsonl"))
        .env("PATH", path)
        .status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
