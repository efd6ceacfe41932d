//! `cargo xtask build`: the kernel programs, then dnsprobe and the lab.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::setup::Toolchain;
use crate::shell;
use crate::workspace::Workspace;

/// Build the kernel programs, dnsprobe and the lab
#[derive(Debug, Default, clap::Args)]
#[command(long_about = "\
Build the kernel programs, dnsprobe and the lab.

The kernel programs are compiled for the BPF target with the toolchain that \
`cargo xtask setup` prints, into target/ebpf/dnsprobe.bpf.o. Then cargo builds \
target/release/dnsprobe, which carries that file, and target/release/lab, which \
compiles its resolver clients. Both have the C library inside, so that what the lab \
tries is what is packaged.")]
#[command(after_help = "\
Examples:
  cargo xtask build
  cargo xtask build --static           target/static/dnsprobe, for any Linux of this architecture
  cargo xtask build --debug-programs   programs that log; see them with dnsprobe's log output")]
pub(crate) struct Args {
    /// Kernel programs that write log lines (feature `log` of dnsprobe-ebpf)
    #[arg(long)]
    debug_programs: bool,

    /// Only a dnsprobe that needs no library, stripped, as target/static/dnsprobe
    #[arg(long = "static")]
    only_static: bool,
}

pub(crate) fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    match args.only_static {
        true => println!("{}", workspace.relative(&static_binary(workspace, args)?).display()),
        false => all(workspace, args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds dnsprobe and strips it: what images and packages hold.
pub(crate) fn static_binary(workspace: &Workspace, args: &Args) -> Result<PathBuf> {
    kernel_programs(workspace, args)?;
    programs(workspace, &["dnsprobe"])?;
    let stripped = workspace.target().join("static/dnsprobe");
    if let Some(directory) = stripped.parent() {
        fs::create_dir_all(directory)?;
    }
    let built = workspace.release_binary("dnsprobe");
    shell::run(Command::new("strip").arg("-o").arg(&stripped).arg(&built))?;
    Ok(stripped)
}

/// Builds everything; quick when nothing changed.
pub(crate) fn all(workspace: &Workspace, args: &Args) -> Result<()> {
    kernel_programs(workspace, args)?;
    programs(workspace, &["dnsprobe", "lab"])?;
    // The lab's clients in other languages; a guest has no time to compile.
    shell::run(Command::new(workspace.release_binary("lab")).arg("prepare"))
}

/// Builds programs with the C library inside and puts them into target/release.
fn programs(workspace: &Workspace, names: &[&str]) -> Result<()> {
    let version = shell::output(Command::new("rustc").arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc does not say for what it compiles")?;
    // Both packages even for one program: what they have in common is then built
    // alike. The target is named so that the flag is not for programs of the build.
    let mut build = workspace.cargo("build");
    build.args(["--release", "-p", "dnsprobe", "-p", "dnsprobe-tests", "--target", host]);
    for name in names {
        build.args(["--bin", name]);
    }
    shell::run(build.env("RUSTFLAGS", "-C target-feature=+crt-static"))?;
    for name in names {
        let built = workspace.target().join(host).join("release").join(name);
        copy_when_changed(&built, &workspace.release_binary(name))?;
    }
    Ok(())
}

/// Compiles the kernel programs and puts the object where `dnsprobe/build.rs`
/// looks for it.
fn kernel_programs(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut command = programs_cargo(workspace, "build")?;
    command.arg("--release");
    if args.debug_programs {
        command.args(["--features", "log"]);
    }
    shell::run(&mut command)?;
    let built = workspace.target().join("ebpf-build/bpfel-unknown-none/release/dnsprobe-ebpf");
    copy_when_changed(&built, &workspace.ebpf_object())
}

/// Cargo in the crate of the kernel programs, with the toolchain in force.
pub(crate) fn programs_cargo(workspace: &Workspace, verb: &str) -> Result<Command> {
    let toolchain = Toolchain::detect(workspace)?.context(
        "there is no compiler for kernel programs on this machine; run `cargo xtask setup`",
    )?;
    let mut command = toolchain.cargo(verb);
    command
        .current_dir(workspace.root().join("dnsprobe-ebpf"))
        .env("CARGO_TARGET_DIR", workspace.target().join("ebpf-build"));
    Ok(command)
}

/// Leaves an equal file untouched, so that dnsprobe is not rebuilt for it.
fn copy_when_changed(from: &Path, to: &Path) -> Result<()> {
    let fresh = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == fresh) {
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    // Not over a program that runs.
    let beside = to.with_added_extension("new");
    fs::copy(from, &beside).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, to).with_context(|| format!("cannot write {}", to.display()))
}
