//! Container names from what the runtimes keep in files: the OCI configuration
//! of containerd, CRI-O and Podman, and Docker's own. A runtime that is not there
//! costs an attempt to open a file. Beside them what a runtime lists when it is
//! asked.

mod docker;
mod id;
mod listed;
mod oci;
mod podman;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::Instant,
};

pub(super) use id::ContainerId;
pub use listed::ListedPods;

use super::{bounded::Bounded, escape, retries};

/// Containers remembered; the oldest is forgotten first.
const CONTAINERS: usize = 8_192;
/// The most that is read of one file. Configurations are some ten kilobytes.
const FILE_BYTES: u64 = 1 << 20;
/// A name longer than any that Kubernetes or a runtime allows is none.
const NAME_BYTES: usize = 253;
/// Namespaces of containerd that are looked into.
const CONTAINERD_NAMESPACES: usize = 16;

/// Where containerd keeps the containers that run: its own, k3s', RKE2's and
/// MicroK8s'.
const CONTAINERD: &[&str] =
    &["containerd/io.containerd.runtime.v2.task", "k3s/containerd/io.containerd.runtime.v2.task"];
const CONTAINERD_ELSEWHERE: &[&str] =
    &["snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task"];

/// What a runtime's files say of a container. All text is safe to print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ContainerFacts {
    /// Its name: in its pod, or the one given to the runtime.
    pub(super) name: Option<String>,
    /// The pod that it is in, as the kubelet told the runtime.
    pub(super) pod: Option<PodFacts>,
}

/// What a container's annotations say of its pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PodFacts {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: Option<String>,
    /// The pod's labels; empty where the files do not have them.
    pub(super) labels: BTreeMap<String, String>,
}

/// Where the runtimes keep their files.
#[derive(Clone, Debug)]
pub struct RuntimeDirs {
    /// `/run` on a node.
    pub run: PathBuf,
    /// `/var/lib` on a node.
    pub state: PathBuf,
    /// `/var` on a node.
    pub var: PathBuf,
}

impl RuntimeDirs {
    /// Those of a node whose root directory is `root`.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self { run: root.join("run"), state: root.join("var/lib"), var: root.join("var") }
    }
}

/// The files, and what was read of them.
#[derive(Debug)]
pub(super) struct RuntimeFiles {
    dirs: RuntimeDirs,
    known: Bounded<ContainerId, Known>,
    podman: podman::Names,
}

#[derive(Debug)]
struct Known {
    facts: Option<ContainerFacts>,
    /// When to look again, while nothing was found.
    retry_at: Option<Instant>,
    tries: u32,
}

impl RuntimeFiles {
    pub(super) fn new(dirs: RuntimeDirs) -> Self {
        Self { dirs, known: Bounded::new(CONTAINERS), podman: podman::Names::default() }
    }

    /// What the files say of a container; `None` when none of them knows it.
    /// What was found once stays: the files go with the container.
    pub(super) fn facts(&mut self, id: &str, now: Instant) -> Option<ContainerFacts> {
        let key = ContainerId::parse(id)?;
        let mut tries = 0;
        if let Some(known) = self.known.get(&key) {
            if known.facts.is_some() || known.retry_at.is_none_or(|at| now < at) {
                return known.facts.clone();
            }
            tries = known.tries;
        }
        let facts = self.read(id, now);
        let retry_at = retries::wait_after(tries + 1).map(|wait| now + wait);
        self.known.insert(key, Known { facts: facts.clone(), retry_at, tries: tries + 1 });
        facts
    }

    fn read(&mut self, id: &str, now: Instant) -> Option<ContainerFacts> {
        let run = &self.dirs.run;
        let containerd = CONTAINERD
            .iter()
            .map(|path| run.join(path))
            .chain(CONTAINERD_ELSEWHERE.iter().map(|path| self.dirs.var.join(path)))
            .find_map(|tasks| in_containerd(&tasks, id));
        if containerd.is_some() {
            return containerd;
        }
        let in_storage =
            [run.join("containers/storage"), self.dirs.state.join("containers/storage")]
                .iter()
                .map(|storage| {
                    storage.join(format!("overlay-containers/{id}/userdata/config.json"))
                })
                .find_map(|file| oci::read(&file));
        if let Some(facts) = &in_storage
            && facts.name.is_some()
        {
            return in_storage;
        }
        if let Some(name) = self.podman.name(&self.dirs.state, id, now) {
            return Some(ContainerFacts { name: Some(name), ..in_storage.unwrap_or_default() });
        }
        in_storage.or_else(|| {
            docker::read(&self.dirs.state.join(format!("docker/containers/{id}/config.v2.json")))
        })
    }
}

/// A container's configuration, in whichever namespace of containerd it is.
fn in_containerd(tasks: &Path, id: &str) -> Option<ContainerFacts> {
    let namespaces = fs::read_dir(tasks).ok()?;
    namespaces
        .flatten()
        .take(CONTAINERD_NAMESPACES)
        .find_map(|namespace| oci::read(&namespace.path().join(id).join("config.json")))
}

/// The beginning of a file.
pub(super) fn read_bounded(file: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(file)?.take(bytes).read_to_end(&mut text)?;
    Ok(text)
}

/// The text as a name that is safe to print; `None` when it cannot be one.
fn name(text: &str) -> Option<String> {
    (1..=NAME_BYTES).contains(&text.len()).then(|| escape(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::testing::TempDir;

    const ID: &str = "aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffff0000000011111111";

    fn write(root: &TempDir, path: &str, text: &str) {
        let file = root.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn facts(root: &TempDir) -> Option<ContainerFacts> {
        RuntimeFiles::new(RuntimeDirs::below(root.path())).facts(ID, Instant::now())
    }

    #[test]
    fn every_runtimes_files_name_a_pods_container() {
        let containerd = r#"{"ociVersion":"1.0.2","process":{"args":["x"]},"annotations":{
            "io.kubernetes.cri.container-name":"app","io.kubernetes.cri.container-type":"container",
            "io.kubernetes.cri.sandbox-name":"cart-0","io.kubernetes.cri.sandbox-namespace":"shop",
            "io.kubernetes.cri.sandbox-uid":"u-1"}}"#;
        let crio = r#"{"annotations":{"io.kubernetes.container.name":"app",
            "io.kubernetes.pod.name":"cart-0","io.kubernetes.pod.namespace":"shop",
            "io.kubernetes.pod.uid":"u-1"}}"#;
        let docker = r#"{"ID":"x","Name":"/k8s_app_cart-0_shop_u-1_0","Config":{"Labels":{
            "io.kubernetes.container.name":"app","io.kubernetes.pod.name":"cart-0",
            "io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"u-1"}}}"#;
        let expected = ContainerFacts {
            name: Some("app".into()),
            pod: Some(PodFacts {
                namespace: "shop".into(),
                name: "cart-0".into(),
                uid: Some("u-1".into()),
                labels: BTreeMap::new(),
            }),
        };
        for (path, text) in [
            ("run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json", containerd),
            ("run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json", containerd),
            (
                "var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/\
                 config.json",
                containerd,
            ),
            ("run/containers/storage/overlay-containers/ID/userdata/config.json", crio),
            ("var/lib/containers/storage/overlay-containers/ID/userdata/config.json", crio),
            ("var/lib/docker/containers/ID/config.v2.json", docker),
        ] {
            let root = TempDir::new();
            write(&root, &path.replace("ID", ID), text);
            assert_eq!(facts(&root), Some(expected.clone()), "{path}");
        }
    }

    #[test]
    fn a_container_outside_pods_has_the_name_it_was_given() {
        let root = TempDir::new();
        write(
            &root,
            &format!("var/lib/docker/containers/{ID}/config.v2.json"),
            r#"{"Name":"/web","Config":{}}"#,
        );
        assert_eq!(facts(&root), Some(ContainerFacts { name: Some("web".into()), pod: None }));

        let root = TempDir::new();
        write(
            &root,
            &format!("var/lib/containers/storage/overlay-containers/{ID}/userdata/config.json"),
            r#"{"annotations":{"io.container.manager":"libpod"}}"#,
        );
        write(
            &root,
            "var/lib/containers/storage/overlay-containers/containers.json",
            &format!(
                r#"[{{"id":"{}","names":["x"]}},{{"id":"{ID}","names":["db"]}}]"#,
                "0".repeat(64)
            ),
        );
        assert_eq!(facts(&root).unwrap().name.as_deref(), Some("db"));
    }

    #[test]
    fn what_was_found_stays_and_what_was_not_is_looked_for_less_and_less() {
        let root = TempDir::new();
        let mut files = RuntimeFiles::new(RuntimeDirs::below(root.path()));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(files.facts(ID, start), None);
        let path = format!("var/lib/docker/containers/{ID}/config.v2.json");
        write(&root, &path, r#"{"Name":"/web"}"#);
        assert_eq!(files.facts(ID, start + retries::FIRST / 2), None);
        assert!(files.facts(ID, at(1)).is_some());
        fs::remove_dir_all(root.path().join("var")).unwrap();
        assert!(files.facts(ID, at(100)).is_some());

        let mut files = RuntimeFiles::new(RuntimeDirs::below(root.path()));
        for seconds in 0..100 {
            assert_eq!(files.facts(ID, at(seconds)), None);
        }
        write(&root, &path, r#"{"Name":"/late"}"#);
        assert_eq!(files.facts(ID, at(1000)), None);
    }

    #[test]
    fn hostile_files_say_nothing_or_something_printable() {
        for text in
            ["", "{", "[]", "null", r#"{"Name":7}"#, r#"{"Name":""}"#, "\0\0", r#"{"Name":"/"}"#]
        {
            let root = TempDir::new();
            write(&root, &format!("var/lib/docker/containers/{ID}/config.v2.json"), text);
            assert_eq!(facts(&root).and_then(|facts| facts.name), None, "{text}");
        }
        let root = TempDir::new();
        let text = r#"{"annotations":{"io.kubernetes.cri.container-name":"a\u001b[2J\nb"}}"#;
        write(
            &root,
            &format!("run/containerd/io.containerd.runtime.v2.task/x/{ID}/config.json"),
            text,
        );
        assert_eq!(facts(&root).unwrap().name.as_deref(), Some(r"a\027[2J\010b"));
        let long = format!(r#"{{"Name":"{}"}}"#, "x".repeat(300));
        let root = TempDir::new();
        write(&root, &format!("var/lib/docker/containers/{ID}/config.v2.json"), &long);
        assert_eq!(facts(&root).and_then(|facts| facts.name), None);
    }

    #[test]
    fn only_ids_lead_to_files() {
        let root = TempDir::new();
        let mut files = RuntimeFiles::new(RuntimeDirs::below(root.path()));
        for id in ["", "..", "../../etc", &"g".repeat(64)] {
            assert_eq!(files.facts(id, Instant::now()), None);
        }
    }
}
