//! The clean run: `lab clean` in a guest, or on this machine's own kernel.

use std::ffi::OsString;
use std::fs;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::lab_guest::{LabGuest, Lines};
use crate::shell;
use crate::vm;
use crate::workspace::Workspace;

/// How much is asked, and where.
#[derive(Debug, clap::Args)]
pub(super) struct Traffic {
    /// With --clean: how long
    #[arg(long, value_name = "N", default_value_t = 60, requires = "clean")]
    minutes: u64,

    /// With --clean: queries per second, of all clients together
    #[arg(long, value_name = "N", default_value_t = 500, requires = "clean")]
    rate: u32,

    /// With --clean: on this machine's own kernel instead of in a guest (needs
    /// root); the clients live in namespaces of their own
    #[arg(long, requires = "clean")]
    native: bool,
}

/// What starting, warming up and ending may take besides the traffic.
const AROUND: Duration = Duration::from_secs(15 * 60);

/// Runs it; the exit code is 1 unless everything was counted and nothing found.
pub(super) fn run(
    traffic: &Traffic,
    kernels: &[String],
    workspace: &Workspace,
    started: Instant,
) -> Result<ExitCode> {
    let out = workspace.target().join("accuracy").join("clean");
    fs::create_dir_all(&out)?;
    let seconds = traffic.minutes * 60;
    let mut arguments: Vec<String> = vec!["clean".into(), "--rate".into()];
    arguments.extend([traffic.rate.to_string(), "--seconds".into(), seconds.to_string()]);
    arguments.push("--out".into());
    if traffic.native {
        arguments.extend([out.to_string_lossy().into_owned(), "--native".into()]);
        return native(&arguments, workspace);
    }
    arguments.push("/out".into());
    let version = match kernels {
        [] => vm::DEFAULT_KERNEL,
        [one] => one,
        _ => bail!("a clean run is of one kernel"),
    };
    let guest = LabGuest {
        label: version.to_owned(),
        kernel: vm::find_kernel(workspace, version)?,
        // Where instructions are the clock an hour is longer than an hour.
        exact_clock: false,
        limit: Duration::from_secs(2 * seconds) + AROUND,
        arguments,
        out,
    };
    let printed = Arc::new(Mutex::new(Vec::new()));
    let ended = guest.run(workspace, Lines::err(started), &printed)?;
    ended.explain(workspace, started.elapsed());
    let printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
    for line in printed.iter().rev().take(1) {
        println!("{}", line.line);
    }
    Ok(ExitCode::from(ended.code()))
}

fn native(arguments: &[String], workspace: &Workspace) -> Result<ExitCode> {
    if !shell::is_root() {
        bail!("--native needs root; run `sudo target/release/lab {}`", arguments.join(" "));
    }
    let mut path = OsString::from(shell::SYSTEM_PATH);
    if let Some(own) = std::env::var_os("PATH") {
        path.push(":");
        path.push(own);
    }
    let mut command = Command::new(workspace.release_binary("lab"));
    let status = command.args(arguments).env("PATH", path).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
