//! The part of the tests that runs on this machine.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::setup::Toolchain;
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{build, docs, shell};

/// `cargo fmt --check` of both workspaces.
pub(super) fn formatting(workspace: &Workspace) -> Result<Tally> {
    let mut tally = Tally::default();
    for directory in [".", "dnsprobe-ebpf"] {
        tally += outcome(shell::run(
            Command::new("cargo")
                .args(["fmt", "--all", "--check"])
                .current_dir(workspace.root().join(directory)),
        ));
    }
    Ok(tally)
}

/// clippy without warnings. The kernel programs need a toolchain with a clippy
/// of its own; Debian's compiler has none.
pub(super) fn lints(workspace: &Workspace) -> Result<Tally> {
    const DENY: [&str; 3] = ["--", "-D", "warnings"];
    let mut tally = outcome(shell::run(
        workspace.cargo("clippy").args(["--workspace", "--all-targets"]).args(DENY),
    ));
    match Toolchain::detect(workspace)? {
        Some(toolchain) if toolchain.has_clippy() => {
            let mut command = build::programs_cargo(workspace, "clippy")?;
            tally += outcome(shell::run(command.arg("--release").args(DENY)));
        }
        _ => {
            println!("skip  clippy of dnsprobe-ebpf: its compiler comes without clippy");
            tally += Tally::SKIPPED;
        }
    }
    Ok(tally)
}

/// The committed generated pages are what the generators write.
pub(super) fn pages(workspace: &Workspace) -> Result<Tally> {
    Ok(outcome(docs::check(workspace)))
}

/// `cargo test`, its output as it comes.
pub(super) fn unit(workspace: &Workspace) -> Result<Tally> {
    let mut command = workspace.cargo("test");
    command.args(["--workspace", "--no-fail-fast"]);
    let (lines, success) = stream(&mut command, "")?;
    let counted = lines.iter().filter_map(|line| Tally::from_cargo(line));
    Ok(Tally::of_runner(sum(counted), success))
}

/// dnsprobe on this machine's own kernel, in namespaces of the test's own.
pub(super) fn native(workspace: &Workspace) -> Result<Tally> {
    if !shell::is_root() {
        println!("skip  native: needs root; run `sudo target/release/lab native`");
        return Ok(Tally::SKIPPED);
    }
    let mut path = OsString::from(shell::SYSTEM_PATH);
    if let Some(own) = std::env::var_os("PATH") {
        path.push(":");
        path.push(own);
    }
    let mut command = Command::new(workspace.release_binary("lab"));
    command.arg("native").env("PATH", path);
    let (lines, success) = stream(&mut command, "[native] ")?;
    // Without a closing line it is one test.
    let counted = sum(lines.iter().filter_map(|line| Tally::from_lab(line)));
    Ok(Tally::of_runner(counted.or(Some(outcome_of(success))), success))
}

fn outcome(result: Result<()>) -> Tally {
    if let Err(error) = &result {
        println!("FAIL  {error:#}");
    }
    outcome_of(result.is_ok())
}

fn outcome_of(success: bool) -> Tally {
    match success {
        true => Tally::PASSED,
        false => Tally::FAILED,
    }
}

fn sum(tallies: impl Iterator<Item = Tally>) -> Option<Tally> {
    tallies.reduce(|mut all, one| {
        all += one;
        all
    })
}

/// Runs a test runner with its stdout passed on, and returns the lines.
fn stream(command: &mut Command, prefix: &str) -> Result<(Vec<String>, bool)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let mut lines = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            println!("{prefix}{line}");
            std::io::stdout().flush()?;
            lines.push(line);
        }
    }
    Ok((lines, child.wait()?.success()))
}
