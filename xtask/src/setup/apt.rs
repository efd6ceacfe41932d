//! apt-get, with two promises: it removes nothing, and no service of a new
//! package starts.
//!
//! Where the release's own package would remove something that is newer (part
//! of a family installed from backports), the one from backports is taken.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::apt_sources::{self, Archive};
use crate::shell;
use crate::workspace::Workspace;

/// Installs packages; fetches the package lists first when they do not know
/// every one of them.
pub(super) fn install(names: &[&str], workspace: &Workspace) -> Result<()> {
    ensure_known(names, workspace)?;
    let _guard = ServiceGuard::new()?;
    let (harmless, removing) = split(names, |name| Ok(removals(&simulate(&[name], None)?)))?;
    if !harmless.is_empty() {
        install_from(None, &harmless, workspace).or_else(|error| {
            // Lists that are a few days old name versions that mirrors dropped.
            println!("      {}", error.to_string().lines().next().unwrap_or_default());
            update(workspace)?;
            install_from(None, &harmless, workspace)
        })?;
    }
    if removing.is_empty() {
        return Ok(());
    }
    for (name, removed) in &removing {
        println!("      {name} would remove {}; trying backports", removed.join(" "));
    }
    let removing: Vec<&str> = removing.iter().map(|(name, _)| *name).collect();
    let backports = Backports::new(workspace)?;
    install_from(Some(&backports), &removing, workspace)
}

/// One installation, unless it would remove something.
fn install_from(
    backports: Option<&Backports>,
    names: &[&str],
    workspace: &Workspace,
) -> Result<()> {
    let removed = removals(&simulate(names, backports)?);
    ensure!(
        removed.is_empty(),
        "installing {} would remove {}; please install them by hand",
        names.join(" "),
        removed.join(" ")
    );
    let mut command = shell::as_root("env");
    command.arg("DEBIAN_FRONTEND=noninteractive");
    if let Some(backports) = backports {
        command.arg(format!("APT_CONFIG={}", backports.configuration.display()));
    }
    command.args(["apt-get", "install", "-y", "--no-install-recommends"]);
    if let Some(backports) = backports {
        command.args(["-t", &backports.suite]);
    }
    command.args(names);
    shell::run_quietly("apt-get install", &mut command, &log(workspace, "install"))
}

/// Packages whose installation removes nothing, and the others with what they
/// would remove.
type Split<'a> = (Vec<&'a str>, Vec<(&'a str, Vec<String>)>);

fn split<'a>(
    names: &[&'a str],
    removed_by: impl Fn(&str) -> Result<Vec<String>>,
) -> Result<Split<'a>> {
    let mut harmless = Vec::new();
    let mut removing = Vec::new();
    for name in names {
        let removed = removed_by(name)?;
        if removed.is_empty() { harmless.push(*name) } else { removing.push((*name, removed)) }
    }
    Ok((harmless, removing))
}

/// The release's backports, whether or not the system uses them: package lists
/// of their own, made from the system's mirrors.
#[derive(Debug)]
struct Backports {
    configuration: PathBuf,
    suite: String,
}

impl Backports {
    fn new(workspace: &Workspace) -> Result<Self> {
        let codename = apt_sources::codename()?;
        let suite = format!("{codename}-backports");
        let system = apt_sources::read_system(Path::new("/etc/apt"))?;
        let source = apt_sources::find(&system, &codename, Archive::Main)
            .with_context(|| format!("none of this system's package sources has {codename}"))?;
        let directory = workspace.cache().join("apt-backports");
        for part in ["lists/partial", "sources.list.d"] {
            fs::create_dir_all(directory.join(part))?;
        }
        fs::write(
            directory.join("sources.list.d/backports.sources"),
            source.with_suites(&[&codename, &suite]),
        )?;
        let root = directory.display();
        let configuration = directory.join("apt.conf");
        // The sandbox user of apt cannot write to a directory of ours.
        fs::write(
            &configuration,
            format!(
                "Dir::State::lists \"{root}/lists\";\n\
                 Dir::Etc::sourcelist \"/dev/null\";\n\
                 Dir::Etc::sourceparts \"{root}/sources.list.d\";\n\
                 APT::Sandbox::User \"root\";\n\
                 Acquire::Languages \"none\";\n"
            ),
        )?;
        shell::run_quietly(
            "package lists of backports",
            shell::as_root("env").arg(format!("APT_CONFIG={}", configuration.display())).args([
                "apt-get",
                "-q",
                "update",
                "--error-on=any",
            ]),
            &log(workspace, "backports"),
        )?;
        Ok(Self { configuration, suite })
    }
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

fn simulate(names: &[&str], backports: Option<&Backports>) -> Result<String> {
    let mut command = Command::new("apt-get");
    command.args(["install", "-s", "--no-install-recommends"]);
    if let Some(backports) = backports {
        command.env("APT_CONFIG", &backports.configuration).args(["-t", &backports.suite]);
    }
    shell::output(command.args(names))
}

/// The packages that a simulated installation would remove.
fn removals(simulation: &str) -> Vec<String> {
    simulation
        .lines()
        .filter_map(|line| line.strip_prefix("Remv ")?.split(' ').next())
        .map(str::to_owned)
        .collect()
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
    fn packages_that_would_remove_something_are_set_apart() {
        let removed =
            |name: &str| Ok(if name == "b" { vec!["b-utils".to_owned()] } else { Vec::new() });
        let (harmless, removing) = split(&["a", "b", "c"], removed).unwrap();
        assert_eq!(harmless, ["a", "c"]);
        assert_eq!(removing, [("b", vec!["b-utils".to_owned()])]);
        assert!(split(&["a"], |_| bail!("no apt")).is_err());
    }

    #[test]
    fn the_versioned_library_is_found_among_dependencies() {
        let depends = "libx-dev\n  Depends: libc6\n  Depends: libx-1.96\n  Conflicts: libx-0\n";
        assert_eq!(first_dependency(depends, "libx-"), Some("libx-1.96"));
        assert_eq!(first_dependency(depends, "liby-"), None);
    }
}
