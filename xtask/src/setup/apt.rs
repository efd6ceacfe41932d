//! apt-get, with two promises: it removes nothing, and no service of a new
//! package starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::shell;
use crate::workspace::Workspace;

/// Installs packages; fetches the package lists first when they do not know
/// every one of them.
pub(super) fn install(names: &[&str], workspace: &Workspace) -> Result<()> {
    ensure_known(names, workspace)?;
    let simulation = simulate(names)?;
    let removed = removals(&simulation);
    ensure!(
        removed.is_empty(),
        "installing {} would remove {}; please install them by hand",
        names.join(" "),
        removed.join(" ")
    );
    let _guard = ServiceGuard::new()?;
    let attempt = || {
        let mut command = shell::as_root("env");
        command
            .arg("DEBIAN_FRONTEND=noninteractive")
            .args(["apt-get", "install", "-y", "--no-install-recommends"])
            .args(names);
        shell::run_quietly("apt-get install", &mut command, &log(workspace, "install"))
    };
    attempt().or_else(|error| {
        // Lists that are a few days old name versions that mirrors dropped.
        println!("      {}", error.to_string().lines().next().unwrap_or_default());
        update(workspace)?;
        attempt()
    })
}

/// Downloads packages into `directory` without installing them.
pub(super) fn download(
    names: &[&str],
    directory: &Path,
    configuration: Option<&Path>,
) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(directory)?;
    let mut command = Command::new("apt-get");
    // The sandbox user of apt cannot write to a directory of ours.
    command
        .args(["-q", "-o", "APT::Sandbox::User=root", "download"])
        .args(names)
        .current_dir(directory);
    if let Some(file) = configuration {
        command.env("APT_CONFIG", file);
    }
    shell::run_quietly("apt-get download", &mut command, &directory.join("log"))?;
    let mut archives = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            archives.push(path);
        }
    }
    Ok(archives)
}

/// Unpacks a package's files below `directory`.
pub(super) fn unpack(archive: &Path, directory: &Path) -> Result<()> {
    shell::output(Command::new("dpkg-deb").arg("-x").arg(archive).arg(directory)).map(|_| ())
}

/// Brings the package lists up to date when one of `names` is not in them: a
/// fresh image has none.
pub(super) fn ensure_known(names: &[&str], workspace: &Workspace) -> Result<()> {
    if unknown(names)?.is_empty() {
        return Ok(());
    }
    update(workspace)?;
    let unknown = unknown(names)?;
    ensure!(unknown.is_empty(), "this system's package sources do not have: {}", unknown.join(" "));
    Ok(())
}

pub(super) fn update(workspace: &Workspace) -> Result<()> {
    println!("      the package lists are missing or old: apt-get update");
    shell::run_quietly(
        "apt-get update",
        shell::as_root("apt-get").args(["-q", "update"]),
        &log(workspace, "update"),
    )
}

fn unknown(names: &[&str]) -> Result<Vec<String>> {
    let policy = shell::output(Command::new("apt-cache").arg("policy").args(names))?;
    Ok(names
        .iter()
        .filter(|name| !has_candidate(&policy, name))
        .map(|name| (*name).to_owned())
        .collect())
}

/// Reads `apt-cache policy`: a block per known package, with its candidate.
fn has_candidate(policy: &str, name: &str) -> bool {
    policy
        .lines()
        .skip_while(|line| line.strip_suffix(':') != Some(name))
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .filter_map(|line| line.trim().strip_prefix("Candidate: "))
        .any(|version| version != "(none)")
}

fn simulate(names: &[&str]) -> Result<String> {
    shell::output(
        Command::new("apt-get").args(["install", "-s", "--no-install-recommends"]).args(names),
    )
}

/// The packages that a simulated installation would remove.
fn removals(simulation: &str) -> Vec<&str> {
    simulation.lines().filter_map(|line| line.strip_prefix("Remv ")?.split(' ').next()).collect()
}

fn log(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.cache().join(format!("log/apt-{name}.log"))
}

/// Forbids package scripts to start services while it lives. Debian's way is
/// the file `policy-rc.d`; one that is there already is put back afterwards.
#[derive(Debug)]
struct ServiceGuard {
    saved: Option<PathBuf>,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl ServiceGuard {
    fn new() -> Result<Self> {
        let saved = PathBuf::from(format!("{POLICY}.dnsprobe-saved"));
        let saved = match Path::new(POLICY).exists() {
            true => {
                shell::output(shell::as_root("mv").arg(POLICY).arg(&saved))?;
                Some(saved)
            }
            false => None,
        };
        let guard = Self { saved };
        let script = format!("printf '#!/bin/sh\\nexit 101\\n' > {POLICY} && chmod 755 {POLICY}");
        shell::output(shell::as_root("sh").args(["-c", &script]))
            .context("cannot forbid services to start during the installation")?;
        Ok(guard)
    }

    fn restore(&self) -> Result<()> {
        match &self.saved {
            Some(saved) => shell::output(shell::as_root("mv").arg(saved).arg(POLICY)),
            None => shell::output(shell::as_root("rm").args(["-f", POLICY])),
        }
        .map(|_| ())
    }
}

impl Drop for ServiceGuard {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            eprintln!("warning: {POLICY} could not be restored: {error:#}");
        }
    }
}

/// The single dependency of `name` that starts with `prefix`, from
/// `apt-cache depends`.
pub(super) fn dependency(name: &str, prefix: &str) -> Result<String> {
    let depends = shell::output(Command::new("apt-cache").args(["depends", name]))?;
    match first_dependency(&depends, prefix) {
        Some(found) => Ok(found.to_owned()),
        None => bail!("package {name} does not depend on any {prefix}*"),
    }
}

fn first_dependency<'a>(depends: &'a str, prefix: &str) -> Option<&'a str> {
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY_OUTPUT: &str = "\
gcc:
  Installed: (none)
  Candidate: 4:12.2.0-3
  Version table:
     4:12.2.0-3 500
virtual:
  Installed: (none)
  Candidate: (none)
";

    #[test]
    fn a_candidate_belongs_to_its_own_block() {
        assert!(has_candidate(POLICY_OUTPUT, "gcc"));
        assert!(!has_candidate(POLICY_OUTPUT, "virtual"));
        assert!(!has_candidate(POLICY_OUTPUT, "absent"));
        assert!(!has_candidate("", "gcc"));
    }

    #[test]
    fn removals_are_read_from_a_simulation() {
        let simulation = "Inst a (1 b)\nRemv rustup [1.26]\nConf a (1 b)\n";
        assert_eq!(removals(simulation), ["rustup"]);
    }

    #[test]
    fn the_versioned_library_is_found_among_dependencies() {
        let depends = "libx-dev\n  Depends: libc6\n  Depends: libx-1.96\n  Conflicts: libx-0\n";
        assert_eq!(first_dependency(depends, "libx-"), Some("libx-1.96"));
        assert_eq!(first_dependency(depends, "liby-"), None);
    }
}
