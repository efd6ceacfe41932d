//! A container's OCI configuration, `config.json`, as containerd, CRI-O and
//! Podman write it. Only its annotations are kept.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::{ContainerFacts, FILE_BYTES, PodFacts, name, read_bounded};

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// What it says; `None` when it is not there or not what it should be.
pub(super) fn read(file: &Path) -> Option<ContainerFacts> {
    let text = read_bounded(file, FILE_BYTES).ok()?;
    let spec: Spec = serde_json::from_slice(&text).ok()?;
    Some(facts(&spec.annotations))
}

/// What a container's annotations, or the labels that the kubelet gave it, say.
pub(super) fn facts(annotations: &BTreeMap<String, String>) -> ContainerFacts {
    let any = |keys: [&str; 2]| keys.iter().find_map(|key| annotations.get(*key));
    let text = |keys| any(keys).and_then(|text| name(text));
    // The sandbox itself has no name in the pod; cri-o and Docker call it POD.
    let container = text(["io.kubernetes.cri.container-name", "io.kubernetes.container.name"])
        .filter(|name| name != "POD");
    let namespace = text(["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"]);
    let pod = text(["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"]);
    let uid = text(["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"]);
    let labels = annotations
        .get("io.kubernetes.cri-o.Labels")
        .and_then(|labels| serde_json::from_str(labels).ok())
        .unwrap_or_default();
    let pod = namespace.zip(pod).map(|(namespace, name)| PodFacts { namespace, name, uid, labels });
    ContainerFacts { name: container, pod }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> ContainerFacts {
        facts(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn the_sandbox_has_a_pod_and_no_name() {
        let found = of(&[
            ("io.kubernetes.container.name", "POD"),
            ("io.kubernetes.pod.name", "a"),
            ("io.kubernetes.pod.namespace", "b"),
        ]);
        assert_eq!(found.name, None);
        assert_eq!(found.pod.unwrap().name, "a");
    }

    #[test]
    fn cri_o_keeps_the_pods_labels_too() {
        let found = of(&[
            ("io.kubernetes.pod.name", "web-5d78c9869d-x2x8k"),
            ("io.kubernetes.pod.namespace", "b"),
            ("io.kubernetes.cri-o.Labels", r#"{"pod-template-hash":"5d78c9869d"}"#),
        ]);
        assert_eq!(found.pod.unwrap().labels["pod-template-hash"], "5d78c9869d");
        let broken = of(&[
            ("io.kubernetes.pod.name", "a"),
            ("io.kubernetes.pod.namespace", "b"),
            ("io.kubernetes.cri-o.Labels", "["),
        ]);
        assert!(broken.pod.unwrap().labels.is_empty());
    }
}
