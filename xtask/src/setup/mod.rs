//! `cargo xtask setup`: make this machine able to build, boot and test.
//!
//! Only what is missing is installed: packages through apt, bpf-linker through
//! cargo into the per-user cache, guest kernels as unpacked packages beside it.

mod apt;
mod apt_sources;
mod bpf_linker;
pub(crate) mod chart_tools;
mod debian_compiler;
mod kernel_version;
mod kernels;
mod packages;
mod toolchain;

use std::process::ExitCode;

use anyhow::Result;

use crate::progress::Steps;
use crate::workspace::Workspace;

pub(crate) use kernels::{GuestKernel, SERIES, every_series, on_request};
pub(crate) use toolchain::Toolchain;

/// Install what is missing on this machine, saying what and why
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Install what is missing on this machine, saying what and why.

Four things are needed: a compiler for kernel programs, the packages that the \
lab guest takes from this machine, the guests' kernels, and what tries the Helm chart. What is there is \
used; nothing is installed twice. Packages come through apt (with sudo when you \
are not root), bpf-linker through cargo, Helm through pip; compiler, linker, kernels and Helm go to \
~/.cache/dnsprobe and replace nothing of yours. No service is started or left \
enabled by this.")]
#[command(after_help = "\
Examples:
  cargo xtask setup           install what is missing
  cargo xtask setup --build   only what building needs, as in deploy/Dockerfile
  cargo xtask setup --check   only say what is missing; exit 1 when something is")]
pub(crate) struct Args {
    /// Change nothing; exit 1 when something is missing
    #[arg(long)]
    check: bool,

    /// Only what building dnsprobe needs: no guest, no tests
    #[arg(long, conflicts_with = "check")]
    build: bool,
}

pub(crate) fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    if args.check {
        return check(workspace);
    }
    if args.build {
        let mut steps = Steps::new(2);
        steps.run("packages for building", || packages::prepare_build(workspace))?;
        steps.run("compiler for kernel programs", || toolchain::prepare(workspace))?;
        return Ok(ExitCode::SUCCESS);
    }
    prepare(workspace)?;
    println!("everything is there: next `cargo xtask demo`, `cargo xtask test`");
    Ok(ExitCode::SUCCESS)
}

/// Installs everything that is missing; silent when nothing is.
pub(crate) fn prepare_if_needed(workspace: &Workspace) -> Result<()> {
    if missing(workspace)?.is_empty() {
        return Ok(());
    }
    prepare(workspace)
}

/// Says what is there, and installs what is not.
fn prepare(workspace: &Workspace) -> Result<()> {
    let mut steps = Steps::new(4);
    steps.run("packages for building and for the guest", || packages::prepare(workspace))?;
    steps.run("compiler for kernel programs", || toolchain::prepare(workspace))?;
    steps.run("guest kernels", || kernels::prepare(workspace))?;
    steps.run("Helm and schemas of Kubernetes", || chart_tools::prepare(workspace))
}

fn check(workspace: &Workspace) -> Result<ExitCode> {
    let missing = missing(workspace)?;
    if missing.is_empty() {
        println!("nothing is missing");
        return Ok(ExitCode::SUCCESS);
    }
    for item in &missing {
        println!("missing: {item}");
    }
    println!("`cargo xtask setup` installs these");
    Ok(ExitCode::FAILURE)
}

/// One line per missing thing.
fn missing(workspace: &Workspace) -> Result<Vec<String>> {
    let mut missing: Vec<String> = packages::missing()
        .iter()
        .map(|package| format!("{}: {}", package.name, package.why))
        .collect();
    if Toolchain::detect(workspace)?.is_none() {
        missing.push("a compiler and linker for kernel programs".to_owned());
    }
    for series in SERIES {
        if GuestKernel::find(workspace, series.prefix)?.is_none() {
            missing.push(format!("guest kernel {}", series.prefix));
        }
    }
    if chart_tools::find(workspace).is_none() {
        missing.push("Helm and the schemas of Kubernetes, which try the chart".to_owned());
    }
    Ok(missing)
}
