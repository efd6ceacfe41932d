//! Debian's compiler for the web browsers' builds (`rustc-web`), which comes with
//! `core` precompiled for BPF, so that no nightly is needed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::apt;
use crate::shell;
use crate::workspace::Workspace;

pub(super) const TARGET: &str = "bpfel-unknown-none";

/// Fetches Debian's compiler into the cache. Its LLVM is an ordinary library
/// package, installed on the system.
pub(super) fn unpack(workspace: &Workspace) -> Result<PathBuf> {
    let fixed = ["rustc-web", "libstd-rust-web-dev", "libstd-rust-web-dev-bpf"];
    println!("      {}: unpacked into the cache", fixed.join(", "));
    apt::ensure_known(&fixed, workspace)?;
    let library = apt::dependency("libstd-rust-web-dev", "libstd-rust-web-")?;
    let llvm = apt::dependency(&library, "libllvm")?;
    apt::install(&[&llvm], workspace)?;

    let unfinished = workspace.cache().join("tools/rust.unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    let mut names = fixed.to_vec();
    names.push(&library);
    let downloads = unfinished.join("download");
    let archives = apt::download(&names, &downloads, None).or_else(|_| {
        // Old lists name versions that the mirrors no longer have.
        apt::update(workspace)?;
        apt::download(&names, &downloads, None)
    })?;
    for archive in archives {
        apt::unpack(&archive, &unfinished)?;
    }
    fs::remove_dir_all(&downloads)?;
    ensure!(is_in(&unfinished), "the compiler packages do not contain core for {TARGET}");
    let prefix = cached(workspace);
    fs::rename(&unfinished, &prefix)?;
    Ok(prefix)
}

/// Where [`unpack`] puts it.
pub(super) fn cached(workspace: &Workspace) -> PathBuf {
    workspace.cache().join("tools/rust")
}

/// Whether the compiler and `core` for BPF are below `prefix`.
pub(super) fn is_in(prefix: &Path) -> bool {
    let library = prefix.join("usr/lib/rustlib").join(TARGET).join("lib");
    prefix.join("usr/bin/rustc").exists() && library.exists()
}

/// Where the compiler's own libraries are when it is not installed on the
/// system: the multiarch directory below `usr/lib`.
pub(super) fn library_path(prefix: &Path) -> Option<OsString> {
    if prefix == Path::new("/") {
        return None;
    }
    let directories = fs::read_dir(prefix.join("usr/lib")).ok()?;
    directories
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().ends_with("-linux-gnu"))
        .map(PathBuf::into_os_string)
}

/// The compiler below `prefix`, ready for arguments.
pub(super) fn rustc(prefix: &Path) -> Command {
    let mut command = Command::new(prefix.join("usr/bin/rustc"));
    if let Some(path) = library_path(prefix) {
        command.env("LD_LIBRARY_PATH", path);
    }
    command
}

/// The LLVM series that the compiler was built with.
pub(super) fn llvm_series(prefix: &Path) -> Result<String> {
    let version = shell::output(rustc(prefix).arg("-vV"))?;
    parse_llvm(&version).map(str::to_owned).context("rustc does not tell its LLVM version")
}

fn parse_llvm(version: &str) -> Option<&str> {
    version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?.split('.').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_series_is_the_first_number() {
        assert_eq!(parse_llvm("rustc 1.96.0\nLLVM version: 22.1.8\n"), Some("22"));
        assert_eq!(parse_llvm("rustc 1.96.0\n"), None);
    }
}
