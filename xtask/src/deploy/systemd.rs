//! The unit: with systemd's own checks, its settings with dnsprobe, and its
//! capabilities against the manifest's.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Finding, kubernetes};
use crate::shell;
use crate::workspace::Workspace;

const UNIT: &str = "deploy/systemd/dnsprobe.service";

/// systemd's figure of how exposed a service is, 0 to 10, times ten. It cannot be much
/// lower: dnsprobe needs the host's network, its processes, and CAP_SYS_ADMIN.
const EXPOSURE: &str = "40";

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let unit = fs::read_to_string(workspace.root().join(UNIT))?;
    let manifest = fs::read_to_string(workspace.root().join(kubernetes::MANIFEST))?;
    Ok(vec![
        Finding::of("systemd-analyze verify", verify(workspace, &unit)),
        Finding::of("systemd-analyze security", security(workspace)),
        Finding::of("capabilities of the unit", capabilities(&unit, &manifest)),
        Finding::of("settings of the unit", settings(workspace)),
    ])
}

/// The unit is looked at with dnsprobe where it was built: what is not there is no
/// program for systemd.
fn verify(workspace: &Workspace, unit: &str) -> Result<()> {
    ensure!(unit.contains("ExecStart=/usr/bin/dnsprobe serve "), "another program");
    let built = workspace.release_binary("dnsprobe").display().to_string();
    let directory = workspace.target().join("deploy");
    fs::create_dir_all(&directory)?;
    let copy = directory.join("dnsprobe.service");
    fs::write(&copy, unit.replace("/usr/bin/dnsprobe", &built))?;
    let mut command = Command::new("systemd-analyze");
    let output = command.args(["verify", "--man=no"]).arg(&copy).output();
    let output = output.context("`cargo xtask setup` installs systemd-analyze")?;
    // Keys that it does not know are only complaints.
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && complaints.is_empty(), "{complaints}");
    Ok(())
}

fn security(workspace: &Workspace) -> Result<()> {
    shell::output(
        Command::new("systemd-analyze")
            .args(["security", "--offline=yes", "--no-pager"])
            .arg(format!("--threshold={EXPOSURE}"))
            .arg(workspace.root().join(UNIT)),
    )
    .map(drop)
}

/// Those of the manifest, and SYS_RESOURCE for kernels before 5.11.
fn capabilities(unit: &str, manifest: &str) -> Result<()> {
    let container = kubernetes::container(manifest)?;
    let added = kubernetes::texts(&container["securityContext"]["capabilities"]["add"]);
    let mut wanted: BTreeSet<String> = added.iter().map(|name| format!("CAP_{name}")).collect();
    wanted.insert("CAP_SYS_RESOURCE".to_owned());
    for key in ["AmbientCapabilities", "CapabilityBoundingSet"] {
        let value = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let given = value.with_context(|| format!("no {key}"))?.split_whitespace();
        let given: BTreeSet<String> = given.map(str::to_owned).collect();
        ensure!(given == wanted, "{key} is {given:?}, not {wanted:?}");
    }
    Ok(())
}

fn settings(workspace: &Workspace) -> Result<()> {
    let file = workspace.root().join("deploy/systemd/dnsprobe.toml");
    let mut command = Command::new(workspace.release_binary("dnsprobe"));
    command.args(["serve", "--print-config", "--config"]).arg(file);
    let printed = shell::output(command.env_remove("DNSPROBE_CONFIG"))?;
    ensure!(printed.contains("# file"), "nothing of the file is in force:\n{printed}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_those_of_the_manifest_and_one_more() {
        let manifest = "\
kind: DaemonSet
spec: {template: {spec: {automountServiceAccountToken: false, containers: [
  {securityContext: {capabilities: {add: [BPF]}}}]}}}";
        let unit = |set: &str| format!("AmbientCapabilities={set}\nCapabilityBoundingSet={set}\n");
        assert!(capabilities(&unit("CAP_BPF CAP_SYS_RESOURCE"), manifest).is_ok());
        assert!(capabilities(&unit("CAP_BPF"), manifest).is_err());
        assert!(capabilities(&unit("CAP_BPF CAP_KILL CAP_SYS_RESOURCE"), manifest).is_err());
        assert!(capabilities("", manifest).is_err());
    }
}
