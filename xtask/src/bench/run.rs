//! One guest after another: a guest counts its instructions best, but ends
//! soonest, when it has a processor of this machine for itself.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::line::{self, Line};
use super::report::{Kernel, NATIVE};
use crate::lab_guest::{LabGuest, Lines};
use crate::setup::GuestKernel;
use crate::shell;
use crate::vm::End;
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(60 * 60);
const FILE: &str = "bench.jsonl";

/// The measurements of one kernel, or why there are none.
pub(super) fn kernel(
    workspace: &Workspace,
    series: &str,
    kernel: &GuestKernel,
    arguments: &[String],
    started: Instant,
) -> Kernel {
    let out = workspace.target().join("bench").join(series);
    let measured = guest(workspace, series, kernel, arguments, started, &out)
        .and_then(|lines| Kernel::new(series, &kernel.release, &lines, &out));
    match measured {
        Ok(kernel) => kernel,
        Err(error) => Kernel::failed(series, &kernel.release, format!("{error:#}")),
    }
}

/// Start and end on this machine's own kernel; in its own milliseconds.
pub(super) fn native(workspace: &Workspace) -> Kernel {
    let measured = on_this_machine(workspace);
    measured.unwrap_or_else(|error| Kernel::failed(NATIVE, "unknown", format!("{error:#}")))
}

fn on_this_machine(workspace: &Workspace) -> Result<Kernel> {
    ensure!(shell::is_root(), "--native needs root");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let out = workspace.target().join("bench").join(NATIVE);
    fs::create_dir_all(&out)?;
    let file = out.join(FILE);
    let mut command = Command::new(workspace.release_binary("lab"));
    shell::output(command.args(["bench", "--native", "--out"]).arg(&file))?;
    Kernel::new(NATIVE, release.trim(), &line::read(&file)?, &out)
}

fn guest(
    workspace: &Workspace,
    series: &str,
    kernel: &GuestKernel,
    arguments: &[String],
    started: Instant,
    out: &Path,
) -> Result<Vec<Line>> {
    // An older result must not pass for one of today.
    if out.exists() {
        fs::remove_dir_all(out).with_context(|| format!("cannot remove {}", out.display()))?;
    }
    let mut all: Vec<String> = vec!["bench".into(), "--out".into(), format!("/out/{FILE}")];
    all.extend_from_slice(arguments);
    let guest = LabGuest {
        label: series.to_owned(),
        kernel: kernel.clone(),
        exact_clock: true,
        limit: LIMIT,
        arguments: all,
        out: out.to_path_buf(),
    };
    let printed = Arc::new(Mutex::new(Vec::new()));
    let ended = guest.run(workspace, Lines::err(started), &printed)?;
    ended.explain(workspace, started.elapsed());
    ensure!(ended.end == End::Exited(0), "the guest's run ended with {:?}", ended.end);
    line::read(&out.join(FILE))
}
