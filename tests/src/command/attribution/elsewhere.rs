//! A dnsprobe in a pod: process and cgroup namespaces of its own, and the node's
//! directories mounted read-only where they are not expected.

use std::path::Path;
use std::process::Command;

/// Where the node's directories are in the pod.
const HOST: &str = "/lab-host";

/// What the pod runs.
pub(super) fn command(dnsprobe: &Path, arguments: &[String]) -> Command {
    let mounts: String = ["proc", "sys/fs/cgroup", "var/log/pods", "var/log/containers", "run"]
        .iter()
        .map(|part| format!("mkdir -p {HOST}/{part} && mount -o bind,ro /{part} {HOST}/{part} && "))
        .collect();
    // The pod has a /proc, logs and runtime files of its own: none of the node's.
    let own = "mount -t tmpfs none /var/log && mount -t tmpfs none /run && exec \"$@\"";
    let script = format!(
        "{mounts}exec unshare --pid --cgroup \
         --fork --kill-child --mount-proc sh -c '{own}' sh \"$@\""
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh"]).arg(dnsprobe).args(arguments);
    command.args(["--host-root", HOST]);
    command
}
