//! The Python packages that try the Helm chart, in an environment of their own in the
//! cache: Helm as a library, and the schemas of Kubernetes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;
use crate::workspace::Workspace;

/// Versions and hashes of everything that is installed.
const REQUIREMENTS: &str = include_str!("../deploy/requirements.txt");

fn environment(workspace: &Workspace) -> PathBuf {
    workspace.cache().join("chart-tools")
}

/// The interpreter that has them, if they are those that are required now.
pub(crate) fn find(workspace: &Workspace) -> Option<PathBuf> {
    let environment = environment(workspace);
    let installed = fs::read_to_string(environment.join("installed.txt")).ok()?;
    (installed == REQUIREMENTS).then(|| environment.join("bin/python"))
}

pub(super) fn prepare(workspace: &Workspace) -> Result<()> {
    if find(workspace).is_some() {
        println!("      they are there");
        return Ok(());
    }
    let environment = environment(workspace);
    println!("      into {}, about 100 MB to fetch", environment.display());
    // Not with what a developer has activated: the packages are for this interpreter.
    shell::output(
        Command::new("/usr/bin/python3").args(["-m", "venv", "--clear"]).arg(&environment),
    )?;
    let wanted = environment.join("requirements.txt");
    fs::write(&wanted, REQUIREMENTS)?;
    let mut pip = Command::new(environment.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--require-hashes"]);
    pip.args(["--only-binary", ":all:", "-r"]).arg(&wanted);
    let log = workspace.cache().join("log/chart-tools.log");
    shell::run_quietly("pip install", &mut pip, &log)?;
    fs::rename(&wanted, environment.join("installed.txt"))
        .with_context(|| format!("cannot finish {}", environment.display()))
}
