//! What made a pod: the Deployment, StatefulSet, DaemonSet or Job behind it.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// A kind of workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WorkloadKind {
    /// Deployment.
    Deployment,
    /// StatefulSet.
    StatefulSet,
    /// DaemonSet.
    DaemonSet,
    /// Job.
    Job,
}

impl WorkloadKind {
    /// Kubernetes' name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Job => "Job",
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a workload is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadSource {
    /// The pod's labels, which its controller set.
    Labels,
    /// The Kubernetes API server names the pod's controller.
    KubernetesApi,
    /// Only the shape of the pod's name. Anybody may name a pod so.
    PodName,
}

/// What made a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Workload {
    /// What it is.
    pub kind: WorkloadKind,
    /// Its name; safe to print.
    pub name: String,
    /// How it is known.
    pub source: WorkloadSource,
}

/// Characters that Kubernetes makes names from, without vowels and what looks
/// like them (apimachinery `rand.SafeEncodeString`).
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Random characters at the end of a generated pod name.
const SUFFIX: usize = 5;

/// The workload that a pod's labels name.
pub(super) fn from_labels(pod: &str, labels: &BTreeMap<String, String>) -> Option<Workload> {
    let label = |key: &str| labels.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let of = |kind, name: &str| {
        let name = super::escape(name.as_bytes());
        Some(Workload { kind, name, source: WorkloadSource::Labels })
    };
    if let Some(hash) = label("pod-template-hash") {
        let replica_set = pod.rsplit_once('-')?.0;
        return of(WorkloadKind::Deployment, replica_set.strip_suffix(hash)?.strip_suffix('-')?);
    }
    if let Some(name) = label("batch.kubernetes.io/job-name").or_else(|| label("job-name")) {
        return of(WorkloadKind::Job, name);
    }
    if label("statefulset.kubernetes.io/pod-name") == Some(pod) {
        return of(WorkloadKind::StatefulSet, ordinal_stripped(pod)?);
    }
    if label("controller-revision-hash").is_some() && label("pod-template-generation").is_some() {
        let (name, suffix) = pod.rsplit_once('-')?;
        return of(WorkloadKind::DaemonSet, is_random(suffix, SUFFIX..=SUFFIX).then_some(name)?);
    }
    None
}

/// The workload that a pod's name looks like. A DaemonSet's, a Job's and a bare
/// ReplicaSet's pods look alike and stay without one.
pub(super) fn from_pod_name(pod: &str) -> Option<Workload> {
    let of = |kind, name: &str| {
        let name = super::escape(name.as_bytes());
        Some(Workload { kind, name, source: WorkloadSource::PodName })
    };
    if let Some(name) = ordinal_stripped(pod) {
        return of(WorkloadKind::StatefulSet, name);
    }
    let (replica_set, suffix) = pod.rsplit_once('-')?;
    let (name, hash) = replica_set.rsplit_once('-')?;
    let generated = is_random(suffix, SUFFIX..=SUFFIX) && is_random(hash, 8..=10);
    if generated && !name.is_empty() { of(WorkloadKind::Deployment, name) } else { None }
}

/// `web` of `web-0`.
fn ordinal_stripped(pod: &str) -> Option<&str> {
    let (name, ordinal) = pod.rsplit_once('-')?;
    let plain = ordinal == "0" || !ordinal.starts_with('0');
    let digits = (1..=4).contains(&ordinal.len()) && ordinal.bytes().all(|b| b.is_ascii_digit());
    (plain && digits && !name.is_empty()).then_some(name)
}

fn is_random(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|byte| SAFE.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_labels(pod: &str, labels: &[(&str, &str)]) -> Option<(WorkloadKind, String)> {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        from_labels(pod, &labels).map(|workload| (workload.kind, workload.name))
    }

    #[test]
    fn labels_of_the_controllers_name_the_workload() {
        use WorkloadKind::{DaemonSet, Deployment, Job, StatefulSet};
        for (pod, labels, kind, name) in [
            (
                "coredns-5d78c9869d-x2x8k",
                &[("pod-template-hash", "5d78c9869d")][..],
                Deployment,
                "coredns",
            ),
            (
                "db-0",
                &[
                    ("statefulset.kubernetes.io/pod-name", "db-0"),
                    ("controller-revision-hash", "db-7f"),
                ],
                StatefulSet,
                "db",
            ),
            (
                "kube-proxy-k7x2b",
                &[("controller-revision-hash", "7f"), ("pod-template-generation", "1")],
                DaemonSet,
                "kube-proxy",
            ),
            ("backup-28012345-abcde", &[("job-name", "backup-28012345")], Job, "backup-28012345"),
            ("b-x", &[("batch.kubernetes.io/job-name", "b")], Job, "b"),
        ] {
            assert_eq!(by_labels(pod, labels), Some((kind, name.to_owned())), "{pod}");
        }
    }

    #[test]
    fn labels_that_do_not_fit_the_name_prove_nothing() {
        assert_eq!(by_labels("web-abc", &[("pod-template-hash", "5d78c9869d")]), None);
        assert_eq!(by_labels("web-0", &[("statefulset.kubernetes.io/pod-name", "db-0")]), None);
        assert_eq!(by_labels("web-0", &[("app", "web")]), None);
        assert_eq!(by_labels("a-é", &[("pod-template-hash", "é"), ("job-name", "")]), None);
        let hostile = by_labels("x", &[("job-name", "a\x1b[2J")]);
        assert_eq!(hostile.map(|(_, name)| name).as_deref(), Some(r"a\027[2J"));
    }

    #[test]
    fn a_name_alone_tells_only_what_is_unambiguous() {
        let derived = |pod: &str| {
            from_pod_name(pod).map(|workload| {
                assert_eq!(workload.source, WorkloadSource::PodName);
                format!("{} {}", workload.kind, workload.name)
            })
        };
        assert_eq!(derived("coredns-5d78c9869d-x2x8k").as_deref(), Some("Deployment coredns"));
        assert_eq!(derived("my-db-12").as_deref(), Some("StatefulSet my-db"));
        for pod in [
            "kube-proxy-k7x2b",
            "web",
            "-0",
            "a-007",
            "web-aaaaaaaaaa-aaaaa",
            "web-v2",
            "",
            "é-é-é",
        ] {
            assert_eq!(derived(pod), None, "{pod}");
        }
    }
}
