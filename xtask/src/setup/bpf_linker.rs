//! bpf-linker built against the LLVM of Debian's compiler, kept in the cache.
//!
//! Its LLVM must be at least as new as the compiler's, so both come from the
//! same series.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::apt;
use crate::shell;
use crate::workspace::Workspace;

const VERSION: &str = "0.13.0";

pub(super) fn cached(workspace: &Workspace) -> PathBuf {
    prefix(workspace).join("bin/bpf-linker")
}

fn prefix(workspace: &Workspace) -> PathBuf {
    workspace.cache().join("tools")
}

/// Builds the linker for the given LLVM series, "22" for example.
pub(super) fn install(llvm: &str, workspace: &Workspace) -> Result<PathBuf> {
    let home = format!("/usr/lib/llvm-{llvm}");
    if !Path::new(&home).join("include/llvm-c/Core.h").exists() {
        let development = format!("llvm-{llvm}-dev");
        let needed = [development.as_str(), "libzstd-dev", "g++"];
        println!("      {development}, libzstd-dev, g++: to build bpf-linker");
        apt::install(&needed, workspace)?;
    }
    println!("      bpf-linker {VERSION}: built with cargo against LLVM {llvm}, about a minute");
    let mut command = Command::new("cargo");
    command
        .args(["install", "bpf-linker", "--version", VERSION, "--locked"])
        .args(["--no-default-features", "--features"])
        .arg(format!("llvm-{llvm}"))
        .arg("--root")
        .arg(prefix(workspace))
        .env("LLVM_PREFIX", &home)
        .env_remove("RUSTC")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR");
    shell::run_quietly(
        "cargo install bpf-linker",
        &mut command,
        &workspace.cache().join("log/bpf-linker.log"),
    )?;
    Ok(cached(workspace))
}
