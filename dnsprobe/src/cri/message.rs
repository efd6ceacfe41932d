//! The messages of CRI (`runtime.v1`, cri-api `pkg/apis/runtime/v1/api.proto`) with
//! the fields that are of use here; others are skipped when they come.

use std::collections::HashMap;

/// `VersionRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct VersionRequest {
    /// The version of the kubelet's API, which runtimes ignore.
    #[prost(string, tag = "1")]
    pub(super) version: String,
}

/// `VersionResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct VersionResponse {
    #[prost(string, tag = "2")]
    pub(super) runtime_name: String,
    #[prost(string, tag = "3")]
    pub(super) runtime_version: String,
}

/// `ListPodSandboxRequest` and `ListContainersRequest` without a filter: all, ended
/// ones too.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct ListRequest {}

/// `ListPodSandboxResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) items: Vec<PodSandbox>,
}

/// `PodSandbox`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PodSandbox {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<PodSandboxMetadata>,
    #[prost(map = "string, string", tag = "5")]
    pub(super) labels: HashMap<String, String>,
}

/// `PodSandboxMetadata`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) uid: String,
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
}

/// `ListContainersResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ListContainersResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) containers: Vec<Container>,
}

/// `Container`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Container {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) pod_sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    pub(super) metadata: Option<ContainerMetadata>,
}

/// `ContainerMetadata`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}
