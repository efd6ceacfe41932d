//! A real container runtime: containerd and runc from the distribution, driven by
//! `ctr` with the cgroups, network and annotations that the CRI plugin would give.
//! The plugin itself stays off: it wants a network of its own making.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::kubelet::{Container, KubePod};
use super::process::{AMPLE, Process};
use super::shell::Namespace;

const DIRECTORY: &str = "/run/dnsprobe-lab/containerd";
const CONFIGURATION: &str = "\
version = 2
root = \"/run/dnsprobe-lab/containerd/root\"
state = \"/run/containerd\"
disabled_plugins = [\"io.containerd.grpc.v1.cri\"]
";

/// A containerd that runs until this is dropped.
#[derive(Debug)]
pub struct Containerd {
    _process: Process,
    rootfs: PathBuf,
}

impl Containerd {
    /// Start it and wait until it serves.
    pub fn start() -> Result<Self> {
        let rootfs = Path::new(DIRECTORY).join("rootfs");
        fs::create_dir_all(&rootfs)?;
        // The image: this machine's programs, bound into it later.
        for part in ["bin", "lib", "lib64", "sbin"] {
            let link = rootfs.join(part);
            if !link.exists() {
                symlink(format!("usr/{part}"), link)?;
            }
        }
        let file = Path::new(DIRECTORY).join("config.toml");
        fs::write(&file, CONFIGURATION)?;
        let child = Command::new("containerd")
            .arg("--config")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start containerd; `cargo xtask setup` installs it")?;
        let mut process = Process::new("containerd", child);
        process.wait_for("containerd successfully booted", AMPLE)?;
        Ok(Self { _process: process, rootfs })
    }

    /// The root directory that containers get.
    #[must_use]
    pub fn rootfs(&self) -> &Path {
        &self.rootfs
    }

    /// Run a command as a pod's container; its output is the command's.
    pub fn run(
        &self,
        pod: &KubePod,
        container: &Container,
        cgroups: &Path,
        command: &Command,
    ) -> Result<Process> {
        let program = Path::new(command.get_program());
        let programs = program.parent().context("the program is in no directory")?;
        let bind = |path: &Path| {
            let path = path.display();
            format!("type=bind,src={path},dst={path},options=rbind:ro")
        };
        let cgroup = Path::new("/").join(container.cgroup().strip_prefix(cgroups)?);
        let mut run = Command::new("ctr");
        run.args(["-n", "k8s.io", "run", "--rm", "--rootfs", "--cgroup"]).arg(cgroup);
        for (key, value) in [
            ("container-type", "container"),
            ("container-name", container.name.as_str()),
            ("sandbox-name", pod.name.as_str()),
            ("sandbox-namespace", pod.namespace.as_str()),
        ] {
            run.arg("--annotation").arg(format!("io.kubernetes.cri.{key}={value}"));
        }
        run.args(["--mount", &bind(Path::new("/usr")), "--mount", &bind(programs)]);
        match pod.network() {
            Namespace::Own => run.arg("--net-host"),
            Namespace::Named(name) => {
                run.arg("--with-ns").arg(format!("network:/run/netns/{name}"))
            }
        };
        run.arg(&self.rootfs).arg(&container.id).arg(program).args(command.get_args());
        let child = run
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run ctr")?;
        Ok(Process::new(format!("ctr for {}", pod.label()), child))
    }
}
