//! From a pod's name, as people type it, to its processes on this node.

use std::sync::Arc;

use super::{Identity, Owner};

/// A pod that has processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Who it is.
    pub owner: Arc<Owner>,
    /// Its processes, lowest number first: as a rule the one that holds the
    /// pod's namespaces.
    pub processes: Vec<u32>,
}

/// A name stands for no pod, or for several.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PodLookupError {
    /// No pod has it.
    #[error(
        "no pod named {wanted} has a process on this node ({seen} pods have); `dnsprobe top` shows \
         names, and --log-dir says where they come from"
    )]
    NotFound {
        /// What was asked for, escaped.
        wanted: String,
        /// Pods that have processes.
        seen: usize,
    },
    /// Several have it.
    #[error("{wanted} may be any of these pods; give one of: {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for, escaped.
        wanted: String,
        /// What to give instead.
        candidates: Vec<String>,
    },
}

impl Identity {
    /// The pods that have processes now, in the order of their labels; a look
    /// at every process.
    pub fn pods(&mut self) -> Vec<Pod> {
        let mut pods: Vec<Pod> = Vec::new();
        for container in self.containers() {
            match pods.iter_mut().find(|pod| pod.owner == container.owner) {
                Some(pod) => pod.processes.extend(container.pids),
                None => pods.push(Pod { owner: container.owner, processes: container.pids }),
            }
        }
        for pod in &mut pods {
            pod.processes.sort_unstable();
        }
        pods.sort_by_key(|pod| pod.owner.to_string());
        pods
    }
}

/// The pod that `wanted` names: `POD`, `NAMESPACE/POD`, or `pod/UID`.
///
/// # Errors
/// When there is none, or more than one.
pub fn find_pod<'a>(pods: &'a [Pod], wanted: &str) -> Result<&'a Pod, PodLookupError> {
    let by_uid = |pod: &Pod| matches!(&*pod.owner, Owner::Pod { uid, .. } if wanted.strip_prefix("pod/") == Some(uid));
    if let Some(pod) = pods.iter().find(|pod| by_uid(pod)) {
        return Ok(pod);
    }
    let found: Vec<&Pod> = pods
        .iter()
        .filter(|one| match &*one.owner {
            Owner::Pod { namespace: Some(namespace), pod: Some(pod), .. } => {
                match wanted.split_once('/') {
                    Some((in_namespace, name)) => in_namespace == namespace && name == pod,
                    None => wanted == pod,
                }
            }
            _ => false,
        })
        .collect();
    let escaped = || super::escape(wanted.as_bytes());
    match found[..] {
        [pod] => Ok(pod),
        [] => Err(PodLookupError::NotFound { wanted: escaped(), seen: pods.len() }),
        _ => Err(PodLookupError::Ambiguous { wanted: escaped(), candidates: candidates(&found) }),
    }
}

/// Labels that tell the pods apart; where two are alike (a pod and the one
/// that replaces it), their UIDs.
fn candidates(found: &[&Pod]) -> Vec<String> {
    let label = |pod: &Pod| pod.owner.to_string();
    let alike = |pod: &Pod| found.iter().filter(|other| label(other) == label(pod)).count() > 1;
    found
        .iter()
        .map(|pod| match &*pod.owner {
            Owner::Pod { uid, .. } if alike(pod) => format!("pod/{uid}"),
            _ => label(pod),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::PodDetails;

    fn pod(namespace: &str, name: &str, uid: &str) -> Pod {
        let owner = Owner::Pod {
            namespace: Some(namespace.to_owned()),
            pod: Some(name.to_owned()),
            container: None,
            uid: uid.to_owned(),
            details: PodDetails::default(),
        };
        Pod { owner: Arc::new(owner), processes: vec![1] }
    }

    fn find(pods: &[Pod], wanted: &str) -> String {
        match find_pod(pods, wanted) {
            Ok(pod) => pod.owner.to_string(),
            Err(PodLookupError::NotFound { .. }) => "none".to_owned(),
            Err(PodLookupError::Ambiguous { candidates, .. }) => candidates.join(" "),
        }
    }

    #[test]
    fn a_pod_goes_by_its_name_its_full_name_or_its_uid() {
        let pods = [pod("shop", "cart-0", "u-1"), pod("shop", "cart-1", "u-2")];
        for wanted in ["cart-0", "shop/cart-0", "pod/u-1"] {
            assert_eq!(find(&pods, wanted), "shop/cart-0");
        }
        for wanted in ["cart", "other/cart-0", "", "/", "u-1"] {
            assert_eq!(find(&pods, wanted), "none", "{wanted}");
        }
    }

    #[test]
    fn an_ambiguous_name_lists_what_to_give_instead() {
        let pods = [pod("shop", "web", "u-1"), pod("test", "web", "u-2")];
        assert_eq!(find(&pods, "web"), "shop/web test/web");
        assert_eq!(find(&pods, "test/web"), "test/web");
        let replaced = [pod("shop", "web", "u-1"), pod("shop", "web", "u-2")];
        assert_eq!(find(&replaced, "shop/web"), "pod/u-1 pod/u-2");
    }

    #[test]
    fn errors_escape_what_was_typed() {
        let error = find_pod(&[], "a\x1b[2J").unwrap_err();
        assert!(error.to_string().contains(r"a\027[2J"), "{error}");
    }
}
