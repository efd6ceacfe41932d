//! What the node's container runtime says over its CRI socket (Container Runtime
//! Interface, `runtime.v1`): which pods and containers there are. Two lists are read
//! and nothing else is asked; the thread that does it is one that nobody waits for.

mod client;
mod message;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    io,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread::Builder,
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime as EventLoop, time::timeout};

pub use client::CriError;
use client::Runtime;
use message::{
    ListContainersResponse, ListPodSandboxResponse, ListRequest, VersionRequest, VersionResponse,
};

use crate::identity::{ListedPods, RuntimeDirs, SharedFacts, escape};

/// How long a runtime may take to answer everything.
const LIMIT: Duration = Duration::from_secs(10);
/// From one question to the next at least.
const AT_LEAST: Duration = Duration::from_millis(250);
/// After questions without an answer: at least this much more each time.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How often the same trouble is told.
const SAY_AGAIN: Duration = Duration::from_secs(300);

/// Where runtimes have their sockets, below `/run` and below `/var`: containerd's, as
/// k3s, RKE2 and k0s start it, CRI-O's, that of Docker's adapter, and `MicroK8s`'.
const BELOW_RUN: [&str; 5] = [
    "containerd/containerd.sock",
    "k3s/containerd/containerd.sock",
    "k0s/containerd.sock",
    "crio/crio.sock",
    "cri-dockerd.sock",
];
const BELOW_VAR: [&str; 1] = ["snap/microk8s/common/run/containerd.sock"];

/// The first socket of a runtime that is there.
#[must_use]
pub fn find(dirs: &RuntimeDirs) -> Option<PathBuf> {
    let below = |root: &Path, paths: &[&str]| -> Vec<PathBuf> {
        paths.iter().map(|path| root.join(path)).collect()
    };
    let all = [below(&dirs.run, &BELOW_RUN), below(&dirs.var, &BELOW_VAR)].concat();
    all.into_iter().find(|path| path.metadata().is_ok_and(|file| file.file_type().is_socket()))
}

/// What a runtime listed.
#[derive(Debug)]
pub struct Listing {
    /// Its name and version, escaped.
    pub runtime: String,
    /// Its pods and their containers, ended ones too while it keeps them.
    pub pods: ListedPods,
}

/// Asks once and waits for the answer, 10 seconds at most.
///
/// # Errors
/// When the runtime cannot be asked, or its answer is none.
pub fn list(socket: &Path) -> Result<Listing, CriError> {
    event_loop().map_err(CriError::Connect)?.block_on(ask(socket))
}

/// Begins to ask: at once, and later whenever a name is missing. The answers come in
/// by themselves until `facts` end.
///
/// # Errors
/// When there can be no further thread.
pub fn start(socket: PathBuf, facts: Arc<SharedFacts>) -> io::Result<()> {
    let event_loop = event_loop()?;
    Builder::new()
        .name("dnsprobe-cri".to_owned())
        .spawn(move || run(&event_loop, &socket, &facts))
        .map(drop)
}

fn event_loop() -> io::Result<EventLoop> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn run(event_loop: &EventLoop, socket: &Path, facts: &SharedFacts) {
    let mut said: Option<(String, Instant)> = None;
    loop {
        let pause = match event_loop.block_on(ask(socket)) {
            Ok(listing) => {
                facts.publish_listed(listing.pods);
                if said.take().is_some() {
                    eprintln!("dnsprobe: the container runtime at {} answers again", shown(socket));
                }
                AT_LEAST
            }
            Err(error) => {
                tell(&mut said, socket, &error);
                AFTER_FAILURE
            }
        };
        if !facts.pause(pause) || !facts.wait_until_missing() {
            return;
        }
    }
}

fn tell(said: &mut Option<(String, Instant)>, socket: &Path, error: &CriError) {
    let text = error.to_string();
    if said.as_ref().is_none_or(|(before, at)| *before != text || at.elapsed() >= SAY_AGAIN) {
        eprintln!(
            "dnsprobe: the container runtime at {} names no pods: {text}; `--cri-socket none` \
             leaves it alone",
            shown(socket)
        );
        *said = Some((text, Instant::now()));
    }
}

fn shown(socket: &Path) -> String {
    escape(socket.as_os_str().as_encoded_bytes())
}

async fn ask(socket: &Path) -> Result<Listing, CriError> {
    let all = async {
        let mut runtime = Runtime::connect(socket).await?;
        let question = VersionRequest { version: "v1".to_owned() };
        let version: VersionResponse = runtime.call("Version", &question).await?;
        let pods: ListPodSandboxResponse = runtime.call("ListPodSandbox", &ListRequest {}).await?;
        let containers: ListContainersResponse =
            runtime.call("ListContainers", &ListRequest {}).await?;
        let name = format!("{} {}", version.runtime_name, version.runtime_version);
        Ok(Listing { runtime: escape(name.trim().as_bytes()), pods: listed(pods, containers) })
    };
    timeout(LIMIT, all).await.map_err(|_| CriError::TimedOut)?
}

fn listed(pods: ListPodSandboxResponse, containers: ListContainersResponse) -> ListedPods {
    let mut listed = ListedPods::default();
    let mut uids: HashMap<String, String> = HashMap::new();
    for sandbox in pods.items {
        let Some(metadata) = sandbox.metadata else { continue };
        let name = (metadata.namespace.as_str(), metadata.name.as_str());
        listed.add_pod(&metadata.uid, name, sandbox.labels);
        uids.insert(sandbox.id, metadata.uid);
    }
    for container in containers.containers {
        if let Some((uid, metadata)) = uids.get(&container.pod_sandbox_id).zip(container.metadata) {
            listed.add_container(uid, &container.id, &metadata.name);
        }
    }
    listed
}
