//! A real container runtime: containerd and runc from the distribution. Pods are made
//! through its CRI socket, as the kubelet does, with plugins of CNI for their network;
//! what is no pod is run by `ctr`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::cri::{self, Client};
use super::kubelet::KubePod;
use super::process::{AMPLE, Process};
use super::shell::Namespace;

const DIRECTORY: &str = "/run/dnsprobe-lab/containerd";
/// Its socket, where dnsprobe looks for it.
pub const SOCKET: &str = "/run/containerd/containerd.sock";
/// The only image: of pods' sandboxes and of their containers.
const IMAGE: &str = "docker.io/local/lab:1";
/// What holds a sandbox's namespaces.
const PAUSE: [&str; 3] = ["/busybox", "sleep", "1000000"];
/// Without overlays, so that it works on a file system in memory.
const CONFIGURATION: &str = r#"version = 2
root = "/run/dnsprobe-lab/containerd/root"
state = "/run/containerd"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "docker.io/local/lab:1"
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/run/dnsprobe-lab/containerd/cni"
"#;
/// Pods' network, as far from the lab's other addresses as from any node's.
const NETWORK: &str = r#"{"cniVersion": "0.4.0", "name": "lab", "plugins": [{
"type": "bridge", "bridge": "lab-cni0", "isGateway": true, "ipMasq": false,
"ipam": {"type": "host-local", "dataDir": "/run/dnsprobe-lab/containerd/ipam",
"ranges": [[{"subnet": "10.247.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
"#;

/// A containerd that runs until this is dropped.
#[derive(Debug)]
pub struct Containerd {
    _process: Process,
    rootfs: PathBuf,
    client: Client,
}

/// A pod that containerd made, until it is removed.
#[derive(Debug)]
pub struct Sandbox<'a> {
    client: &'a Client,
    id: String,
    config: cri::PodSandboxConfig,
}

/// A container in one.
#[derive(Debug)]
pub struct Ran<'a> {
    client: &'a Client,
    /// The id that containerd gave it.
    pub id: String,
    log: PathBuf,
}

impl Containerd {
    /// Start it and wait until it serves.
    pub fn start() -> Result<Self> {
        let rootfs = Path::new(DIRECTORY).join("rootfs");
        fs::create_dir_all(&rootfs)?;
        // This machine's programs are bound into it later.
        for part in ["bin", "lib", "lib64", "sbin"] {
            let link = rootfs.join(part);
            // It leads nowhere until programs are bound in.
            if !link.is_symlink() {
                symlink(format!("usr/{part}"), link)?;
            }
        }
        fs::copy("/bin/busybox", rootfs.join("busybox"))
            .context("cannot copy /bin/busybox; `cargo xtask setup` installs it")?;
        let cni = Path::new(DIRECTORY).join("cni");
        fs::create_dir_all(&cni)?;
        fs::write(cni.join("10-lab.conflist"), NETWORK)?;
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
        Ok(Self { _process: process, rootfs, client: Client::new(Path::new(SOCKET))? })
    }

    /// The root directory that containers get.
    #[must_use]
    pub fn rootfs(&self) -> &Path {
        &self.rootfs
    }

    /// Make the image of pods from the root directory.
    pub fn import_image(&self) -> Result<()> {
        let directory = Path::new(DIRECTORY).join("image");
        fs::create_dir_all(&directory)?;
        let layer = directory.join("layer.tar");
        run(Command::new("tar").arg("-cf").arg(&layer).arg("-C").arg(&self.rootfs).arg("."))?;
        let sum = run(Command::new("sha256sum").arg(&layer))?;
        let sum = sum.split_whitespace().next().context("sha256sum told nothing")?;
        let config = serde_json::json!({
            "architecture": architecture(), "os": "linux", "config": { "Cmd": PAUSE },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{sum}")] },
        });
        fs::write(directory.join("config.json"), config.to_string())?;
        let manifest = serde_json::json!([
            { "Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"] }
        ]);
        fs::write(directory.join("manifest.json"), manifest.to_string())?;
        let image = Path::new(DIRECTORY).join("image.tar");
        run(Command::new("tar").arg("-cf").arg(&image).arg("-C").arg(&directory).args([
            "manifest.json",
            "config.json",
            "layer.tar",
        ]))?;
        let mut import = Command::new("ctr");
        import.args(["-n", "k8s.io", "images", "import", "--snapshotter", "native"]);
        run(import.arg(image)).map(drop)
    }

    /// Make a pod: a sandbox in a network of its own, or the node's.
    pub fn sandbox(
        &self,
        pod: &KubePod,
        cgroups: &Path,
        labels: &[(&str, &str)],
    ) -> Result<Sandbox<'_>> {
        let namespaces = namespaces(pod);
        let parent = Path::new("/").join(pod.cgroup().strip_prefix(cgroups)?);
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let mut labels: std::collections::HashMap<_, _> =
            labels.iter().copied().map(owned).collect();
        labels.extend(
            [
                ("io.kubernetes.pod.name", pod.name.as_str()),
                ("io.kubernetes.pod.namespace", pod.namespace.as_str()),
                ("io.kubernetes.pod.uid", &pod.uid()),
            ]
            .map(owned),
        );
        let config = cri::PodSandboxConfig {
            metadata: Some(cri::PodSandboxMetadata {
                name: pod.name.clone(),
                uid: pod.uid(),
                namespace: pod.namespace.clone(),
                attempt: 0,
            }),
            hostname: if namespaces.network == cri::OF_NODE {
                String::new()
            } else {
                pod.name.clone()
            },
            log_directory: pod.log().display().to_string(),
            labels,
            linux: Some(cri::LinuxPodSandboxConfig {
                cgroup_parent: parent.display().to_string(),
                security_context: Some(cri::LinuxSandboxSecurityContext {
                    namespace_options: Some(namespaces),
                }),
            }),
        };
        let request = cri::RunPodSandboxRequest { config: Some(config.clone()) };
        let made: cri::Id = self.client.call("RunPodSandbox", &request)?;
        Ok(Sandbox { client: &self.client, id: made.id, config })
    }
}

impl<'a> Sandbox<'a> {
    /// Make a container that is to run this command of the machine's.
    pub fn create(&self, pod: &KubePod, name: &str, command: &Command) -> Result<Ran<'a>> {
        let program = Path::new(command.get_program());
        let programs = program.parent().context("the program is in no directory")?;
        let bind = |path: &Path| {
            let path = path.display().to_string();
            cri::Mount { container_path: path.clone(), host_path: path, readonly: true }
        };
        let log_path = format!("{name}/0.log");
        fs::create_dir_all(pod.log().join(name))?;
        let config = cri::ContainerConfig {
            metadata: Some(cri::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
            image: Some(cri::ImageSpec { image: IMAGE.to_owned() }),
            command: std::iter::once(command.get_program())
                .chain(command.get_args())
                .map(|part| part.to_string_lossy().into_owned())
                .collect(),
            mounts: vec![bind(Path::new("/usr")), bind(programs)],
            labels: [("io.kubernetes.container.name".to_owned(), name.to_owned())].into(),
            log_path: log_path.clone(),
            linux: Some(cri::LinuxContainerConfig {
                security_context: Some(cri::LinuxContainerSecurityContext {
                    namespace_options: Some(namespaces(pod)),
                }),
            }),
        };
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        let made: cri::Id = self.client.call("CreateContainer", &request)?;
        Ok(Ran { client: self.client, id: made.id, log: pod.log().join(log_path) })
    }

    /// End and remove everything of the pod.
    pub fn remove(self) -> Result<()> {
        let id = cri::Id { id: self.id };
        let _: cri::Empty = self.client.call("StopPodSandbox", &id)?;
        let _: cri::Empty = self.client.call("RemovePodSandbox", &id)?;
        Ok(())
    }
}

impl Ran<'_> {
    /// Start it.
    pub fn start(&self) -> Result<()> {
        let id = cri::Id { id: self.id.clone() };
        self.client.call("StartContainer", &id).map(|cri::Empty {}| ())
    }

    /// Wait until it ends by itself, with success; its output, line by line.
    pub fn finish(&self) -> Result<Vec<String>> {
        let deadline = Instant::now() + AMPLE;
        let id = cri::Id { id: self.id.clone() };
        loop {
            let told: cri::ContainerStatusResponse = self.client.call("ContainerStatus", &id)?;
            let status = told.status.context("the container has no status")?;
            if status.state == cri::EXITED {
                ensure!(status.exit_code == 0, "the container failed: {status:?}");
                break;
            }
            ensure!(Instant::now() < deadline, "the container did not end");
            sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(&self.log)
            .with_context(|| format!("cannot read {}", self.log.display()))?;
        // Time, stream, whether it is a whole line, text.
        Ok(log.lines().filter_map(|line| line.splitn(4, ' ').nth(3).map(str::to_owned)).collect())
    }
}

fn namespaces(pod: &KubePod) -> cri::NamespaceOption {
    let network = match pod.network() {
        Namespace::Own => cri::OF_NODE,
        Namespace::Named(_) => cri::OF_POD,
    };
    cri::NamespaceOption { network, pid: cri::OF_CONTAINER, ipc: cri::OF_POD }
}

/// As images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
