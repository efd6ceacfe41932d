//! Command lines and settings in `deploy/`: dnsprobe itself has to accept them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Finding, kubernetes};
use crate::shell;
use crate::workspace::Workspace;

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let manifest = fs::read_to_string(workspace.root().join(kubernetes::MANIFEST))?;
    let arguments = kubernetes::texts(&kubernetes::container(&manifest)?["args"]);
    let settings = workspace.target().join("deploy/dnsprobe.toml");
    fs::create_dir_all(workspace.target().join("deploy"))?;
    fs::write(&settings, kubernetes::settings(&manifest)?)?;
    let accepted = accepted(workspace, &arguments, &settings);
    let mut wrong = arguments.clone();
    wrong.push("--no-such-option".to_owned());
    let refused = self::accepted(workspace, &wrong, &settings);
    Ok(vec![
        Finding::of("arguments and settings of the DaemonSet", accepted),
        Finding::of("a wrong argument is noticed", refused.err().map(drop).context("it is not")),
    ])
}

/// Has dnsprobe print the settings that it would run with.
fn accepted(workspace: &Workspace, arguments: &[String], settings: &Path) -> Result<()> {
    let mut command = Command::new(workspace.release_binary("dnsprobe"));
    for argument in arguments {
        match argument.starts_with("--config=") {
            true => command.arg("--config").arg(settings),
            // What the kubelet puts in.
            false => command.arg(argument.replace("$(HOST_IP)", "192.0.2.1")),
        };
    }
    let printed = shell::output(command.arg("--print-config").env_remove("DNSPROBE_CONFIG"))?;
    for wanted in ["192.0.2.1:", "# file"] {
        ensure!(printed.contains(wanted), "{wanted} is not in force:\n{printed}");
    }
    Ok(())
}
