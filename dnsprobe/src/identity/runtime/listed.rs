//! What a container runtime lists when it is asked over its CRI socket: the same
//! facts that its files hold, for nodes whose files cannot be read.

use std::collections::{BTreeMap, HashMap};

use super::{ContainerId, PodFacts, name};

/// Pods that are kept of one answer; the kubelet allows some hundred on a node.
const PODS: usize = 4_096;
/// Containers that are kept of one answer, ended ones among them.
const CONTAINERS: usize = 16_384;

/// Pods and containers as a runtime listed them. All text is safe to print.
#[derive(Clone, Debug, Default)]
pub struct ListedPods {
    pods: HashMap<String, PodFacts>,
    /// Pod's UID and name by container.
    containers: HashMap<ContainerId, (String, String)>,
}

impl ListedPods {
    /// Takes a pod in, and what labels it has. What cannot be a name of one is
    /// left out.
    pub fn add_pod(
        &mut self,
        uid: &str,
        (namespace, pod): (&str, &str),
        labels: impl IntoIterator<Item = (String, String)>,
    ) {
        let Some((namespace, pod)) = name(namespace).zip(name(pod)) else { return };
        let Some(uid) = name(uid) else { return };
        if self.pods.len() < PODS {
            let labels: BTreeMap<String, String> = labels.into_iter().collect();
            let facts = PodFacts { namespace, name: pod, uid: Some(uid.clone()), labels };
            self.pods.insert(uid, facts);
        }
    }

    /// Takes one of a pod's containers in.
    pub fn add_container(&mut self, uid: &str, id: &str, container: &str) {
        let Some(id) = ContainerId::parse(id) else { return };
        if let Some((uid, container)) = name(uid).zip(name(container))
            && self.containers.len() < CONTAINERS
        {
            self.containers.insert(id, (uid, container));
        }
    }

    /// How many pods there are.
    #[must_use]
    pub fn pods(&self) -> usize {
        self.pods.len()
    }

    /// How many containers there are.
    #[must_use]
    pub fn containers(&self) -> usize {
        self.containers.len()
    }

    /// A pod by its UID.
    pub(in crate::identity) fn pod(&self, uid: &str) -> Option<&PodFacts> {
        self.pods.get(uid)
    }

    /// A container's name, if it is of that pod.
    pub(in crate::identity) fn container_name(&self, uid: &str, id: &str) -> Option<&String> {
        let (of, name) = self.containers.get(&ContainerId::parse(id)?)?;
        (of == uid).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffff0000000011111111";

    #[test]
    fn a_container_is_named_for_its_own_pod_only() {
        let mut listed = ListedPods::default();
        listed.add_container("u-1", ID, "app");
        listed.add_container("u-1", "no id", "app");
        assert_eq!(listed.container_name("u-1", ID).map(String::as_str), Some("app"));
        assert_eq!(listed.container_name("u-2", ID), None);
        assert_eq!(listed.container_name("u-1", "no id"), None);
        assert_eq!(listed.containers(), 1);
    }

    #[test]
    fn text_of_the_runtime_is_escaped_and_bounded() {
        let mut listed = ListedPods::default();
        listed.add_pod("u-1", ("shop", "a\x1b[2J"), []);
        listed.add_pod("u-2", ("shop", ""), []);
        listed.add_pod("u-3", ("shop", &"x".repeat(254)), []);
        listed.add_container("u-1", ID, "b\n");
        assert_eq!(listed.pod("u-1").unwrap().name, r"a\027[2J");
        assert_eq!(listed.pods(), 1);
        assert_eq!(listed.container_name("u-1", ID).unwrap(), r"b\010");
    }

    #[test]
    fn more_than_any_node_has_is_left_out() {
        let mut listed = ListedPods::default();
        for number in 0..PODS + 10 {
            listed.add_pod(&format!("u-{number}"), ("shop", "cart"), []);
        }
        assert_eq!(listed.pods(), PODS);
    }
}
