//! dnsprobe confined as `deploy/` says: in a container of containerd with the
//! DaemonSet's capabilities, mounts and limits, or as a user without rights with the
//! capabilities of the unit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::containerd::Containerd;
use super::kernel::Kernel;
use super::pod::Directories;

const MANIFEST: &str = include_str!("../../../deploy/kubernetes/dnsprobe.yaml");
const UNIT: &str = include_str!("../../../deploy/systemd/dnsprobe.service");

/// What Docker's and containerd's containers have when nothing is said.
const BY_DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The namespace of containerd in which Kubernetes' containers are.
const NAMESPACE: &str = "k8s.io";

/// dnsprobe, to be run in a container as the DaemonSet's.
pub fn in_a_pod(
    containerd: &Containerd,
    directories: &Directories,
    kernel: Kernel,
    id: &str,
    program: &Path,
) -> Result<Command> {
    let mut run = Command::new("ctr");
    run.args(["-n", NAMESPACE, "run", "--rm", "--rootfs", "--read-only", "--net-host"]);
    run.args(["--seccomp", "--cgroup", &format!("/{NAMESPACE}/{id}")]);
    run.args(["--memory-limit", &memory_limit()?.to_string()]);
    for name in BY_DEFAULT {
        run.args(["--cap-drop", &format!("CAP_{name}")]);
    }
    let older = (kernel < Kernel(5, 11)).then_some("SYS_RESOURCE");
    for name in items(MANIFEST, "add:").into_iter().chain(older) {
        run.args(["--cap-add", &format!("CAP_{name}")]);
    }
    for directory in host_directories() {
        // The lab keeps these elsewhere.
        let from = match directory {
            "/var/log/pods" => &directories.logs,
            "/sys/fs/cgroup" => &directories.cgroups,
            other => Path::new(other),
        };
        fs::create_dir_all(from)
            .or_else(|error| if from.is_dir() { Ok(()) } else { Err(error) })?;
        let from = from.display();
        let mount = format!("type=bind,src={from},dst=/host{directory},options=rbind:rslave:ro");
        run.args(["--mount", &mount]);
    }
    // Instead of the image, which has no libraries because its dnsprobe needs none.
    let programs = program.parent().context("the program is in no directory")?;
    for own in [Path::new("/usr"), programs] {
        let own = own.display();
        run.args(["--mount", &format!("type=bind,src={own},dst={own},options=rbind:ro")]);
    }
    run.arg(containerd.rootfs()).arg(id).arg(program);
    Ok(run)
}

/// The processes of such a container.
pub fn processes(directories: &Directories, id: &str) -> Result<Vec<u32>> {
    let file = cgroup(directories, id).join("cgroup.procs");
    let text = fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Memory of such a container, with what the kernel holds for it, bytes.
pub fn memory(directories: &Directories, id: &str) -> Result<u64> {
    let cgroup = cgroup(directories, id);
    // The most that it ever was is known since 5.19.
    let read = |name: &str| fs::read_to_string(cgroup.join(name));
    let text = read("memory.peak").or_else(|_| read("memory.current"))?;
    text.trim().parse().context("memory of the container")
}

/// What the DaemonSet allows, bytes.
pub fn memory_limit() -> Result<u64> {
    let limits = MANIFEST.split("limits:").nth(1).context("the manifest has no limits")?;
    let limit = values(limits, "memory: ").first().copied().context("no limit of memory")?;
    let mebibytes: u64 = limit.strip_suffix("Mi").context("not in Mi")?.parse()?;
    Ok(mebibytes << 20)
}

/// dnsprobe, to be run as the unit's user: nobody, but for the capabilities.
pub fn as_the_unit(program: &Path) -> Result<Command> {
    let given = values(UNIT, "AmbientCapabilities=").first().copied().context("none")?;
    let set: String = given
        .split_whitespace()
        .filter_map(|name| name.strip_prefix("CAP_"))
        .map(|name| format!(",+{}", name.to_ascii_lowercase()))
        .collect();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
    for option in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
        command.arg(format!("{option}=-all{set}"));
    }
    command.arg(program);
    Ok(command)
}

fn cgroup(directories: &Directories, id: &str) -> PathBuf {
    directories.cgroups.join(NAMESPACE).join(id)
}

/// What the DaemonSet mounts of the node.
fn host_directories() -> Vec<&'static str> {
    let volumes = MANIFEST.split("      volumes:").nth(1).unwrap_or_default();
    values(volumes, "path: ")
}

/// The items of a list of YAML below a line.
fn items<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let mut lines = text.lines().skip_while(|line| line.trim() != key);
    lines.next();
    lines.map_while(|line| line.trim().strip_prefix("- ")).collect()
}

/// What follows a key, on every line that begins with it.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.trim().strip_prefix(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deploy_says_is_read() {
        assert!(items(MANIFEST, "add:").contains(&"BPF"));
        let mounted = host_directories();
        assert_eq!(mounted[..3], ["/proc", "/sys/fs/cgroup", "/var/log/pods"], "{mounted:?}");
        assert!(!mounted.contains(&"/healthz"));
        assert!(memory_limit().unwrap() > 64 << 20);
        let command = as_the_unit(Path::new("/dnsprobe")).unwrap();
        let arguments: Vec<_> = command.get_args().filter_map(|a| a.to_str()).collect();
        for option in ["--inh-caps=", "--ambient-caps=", "--bounding-set="] {
            let set = arguments.iter().find_map(|a| a.strip_prefix(option)).unwrap();
            assert!(set.starts_with("-all,+bpf,+perfmon"), "{set}");
        }
    }

    #[test]
    fn a_list_ends_where_something_else_begins() {
        assert_eq!(items("a:\n  add:\n  - B\n  - C\n  d: e\n  - F", "add:"), ["B", "C"]);
        assert!(items("a: 1", "add:").is_empty());
    }
}
