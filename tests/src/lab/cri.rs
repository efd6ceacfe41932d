//! The kubelet's side of CRI (`runtime.v1`): makes pod sandboxes and containers
//! through a runtime's socket. A client of its own, which dnsprobe's has to agree with.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

/// Emulated machines are slow, and where the clock counts instructions it jumps while
/// the machine waits for a file.
const LIMIT: Duration = Duration::from_secs(900);

/// A runtime's socket.
#[derive(Debug)]
pub(super) struct Client {
    socket: PathBuf,
    event_loop: Runtime,
}

impl Client {
    pub(super) fn new(socket: &Path) -> Result<Self> {
        let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { socket: socket.to_owned(), event_loop })
    }

    /// Call a method of the runtime service.
    pub(super) fn call<A: Message + Default>(
        &self,
        method: &str,
        question: &impl Message,
    ) -> Result<A> {
        self.event_loop
            .block_on(async { tokio::time::timeout(LIMIT, self.ask(method, question)).await? })
            .with_context(|| format!("CRI: {method}"))
    }

    async fn ask<A: Message + Default>(&self, method: &str, question: &impl Message) -> Result<A> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let message = question.encode_to_vec();
        let length = u32::try_from(message.len())?.to_be_bytes();
        let request =
            hyper::Request::post(format!("http://localhost/runtime.v1.RuntimeService/{method}"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Full::new(Bytes::from([&[0][..], &length, &message].concat())))?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?;
        let end = body.trailers().unwrap_or(&head.headers);
        let told = |key: &str| end.get(key).and_then(|value| value.to_str().ok());
        if told("grpc-status") != Some("0") {
            bail!("{}: {:?}: {:?}", head.status, told("grpc-status"), told("grpc-message"));
        }
        let bytes = body.to_bytes();
        ensure!(bytes.len() >= 5 && bytes[0] == 0, "not one message: {bytes:?}");
        Ok(A::decode(&bytes[5..])?)
    }
}

/// A namespace is the pod's.
pub(super) const OF_POD: i32 = 0;
/// A namespace is the container's own.
pub(super) const OF_CONTAINER: i32 = 1;
/// A namespace is the node's.
pub(super) const OF_NODE: i32 = 2;
/// State of a container that has ended.
pub(super) const EXITED: i32 = 2;

/// The messages, with the fields that are used. Field numbers are those of cri-api
/// `pkg/apis/runtime/v1/api.proto`.
macro_rules! messages {
    ($($(#[$about:meta])* $name:ident { $($(#[$field:meta])* $key:ident: $type:ty,)* })*) => {$(
        $(#[$about])*
        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct $name { $($(#[$field])* pub(super) $key: $type,)* }
    )*};
}

messages! {
    /// Who a pod is.
    PodSandboxMetadata {
        #[prost(string, tag = "1")] name: String,
        #[prost(string, tag = "2")] uid: String,
        #[prost(string, tag = "3")] namespace: String,
        #[prost(uint32, tag = "4")] attempt: u32,
    }
    /// Whose its namespaces are.
    NamespaceOption {
        #[prost(int32, tag = "1")] network: i32,
        #[prost(int32, tag = "2")] pid: i32,
        #[prost(int32, tag = "3")] ipc: i32,
    }
    LinuxSandboxSecurityContext {
        #[prost(message, optional, tag = "1")] namespace_options: Option<NamespaceOption>,
    }
    LinuxPodSandboxConfig {
        #[prost(string, tag = "1")] cgroup_parent: String,
        #[prost(message, optional, tag = "2")]
        security_context: Option<LinuxSandboxSecurityContext>,
    }
    /// A pod to be made.
    PodSandboxConfig {
        #[prost(message, optional, tag = "1")] metadata: Option<PodSandboxMetadata>,
        #[prost(string, tag = "2")] hostname: String,
        #[prost(string, tag = "3")] log_directory: String,
        #[prost(map = "string, string", tag = "6")] labels: HashMap<String, String>,
        #[prost(message, optional, tag = "8")] linux: Option<LinuxPodSandboxConfig>,
    }
    RunPodSandboxRequest {
        #[prost(message, optional, tag = "1")] config: Option<PodSandboxConfig>,
    }
    /// The first field of many messages: a pod's or a container's id.
    Id {
        #[prost(string, tag = "1")] id: String,
    }
    /// An answer that tells nothing.
    Empty {}
    ContainerMetadata {
        #[prost(string, tag = "1")] name: String,
        #[prost(uint32, tag = "2")] attempt: u32,
    }
    ImageSpec {
        #[prost(string, tag = "1")] image: String,
    }
    Mount {
        #[prost(string, tag = "1")] container_path: String,
        #[prost(string, tag = "2")] host_path: String,
        #[prost(bool, tag = "3")] readonly: bool,
    }
    LinuxContainerSecurityContext {
        #[prost(message, optional, tag = "3")] namespace_options: Option<NamespaceOption>,
    }
    LinuxContainerConfig {
        #[prost(message, optional, tag = "2")]
        security_context: Option<LinuxContainerSecurityContext>,
    }
    /// A container to be made.
    ContainerConfig {
        #[prost(message, optional, tag = "1")] metadata: Option<ContainerMetadata>,
        #[prost(message, optional, tag = "2")] image: Option<ImageSpec>,
        #[prost(string, repeated, tag = "3")] command: Vec<String>,
        #[prost(message, repeated, tag = "7")] mounts: Vec<Mount>,
        #[prost(map = "string, string", tag = "9")] labels: HashMap<String, String>,
        #[prost(string, tag = "11")] log_path: String,
        #[prost(message, optional, tag = "15")] linux: Option<LinuxContainerConfig>,
    }
    CreateContainerRequest {
        #[prost(string, tag = "1")] pod_sandbox_id: String,
        #[prost(message, optional, tag = "2")] config: Option<ContainerConfig>,
        #[prost(message, optional, tag = "3")] sandbox_config: Option<PodSandboxConfig>,
    }
    ContainerStatus {
        #[prost(int32, tag = "3")] state: i32,
        #[prost(int32, tag = "7")] exit_code: i32,
        #[prost(string, tag = "11")] reason: String,
        #[prost(string, tag = "12")] message: String,
    }
    ContainerStatusResponse {
        #[prost(message, optional, tag = "1")] status: Option<ContainerStatus>,
    }
}
