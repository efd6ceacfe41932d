//! What the Kubernetes API server says of pods, services and what is behind them.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use super::{Remote, RemoteAddress, RemoteKind, RemoteSource, ask::now_ns};
use crate::identity::{Workload, WorkloadKind, WorkloadSource};

/// A change is told a moment after it happened.
const SETTLING_NS: u64 = 1_000_000_000;

/// A pod of this node. All text is safe to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPod {
    /// Its namespace.
    pub(in crate::identity) namespace: String,
    /// Its name.
    pub(in crate::identity) name: String,
    /// What made it.
    pub(in crate::identity) workload: Option<Workload>,
    /// Names of its containers by id.
    containers: HashMap<String, String>,
}

impl ClusterPod {
    /// A pod with its controller (kind and name), the hash that a Deployment gave it,
    /// and its containers (id and name).
    #[must_use]
    pub fn new<'a>(
        (namespace, name): (String, String),
        controller: Option<(&str, &str)>,
        template_hash: Option<&str>,
        containers: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let workload = controller.and_then(|(kind, name)| {
            let (kind, name) = match (kind, template_hash) {
                ("ReplicaSet", Some(hash)) => (
                    WorkloadKind::Deployment,
                    name.strip_suffix(hash).and_then(|name| name.strip_suffix('-'))?,
                ),
                ("StatefulSet", _) => (WorkloadKind::StatefulSet, name),
                ("DaemonSet", _) => (WorkloadKind::DaemonSet, name),
                ("Job", _) => (WorkloadKind::Job, name),
                _ => return None,
            };
            Some(Workload { kind, name: name.to_owned(), source: WorkloadSource::KubernetesApi })
        });
        let containers = containers.map(|(id, name)| (id.to_owned(), name.to_owned())).collect();
        Self { namespace, name, workload, containers }
    }

    /// All of it in a line.
    #[cfg(test)]
    pub(crate) fn describe(&self) -> String {
        let workload = self.workload.as_ref();
        let workload = workload.map_or_else(String::new, |w| format!("{} {}", w.kind, w.name));
        let mut containers: Vec<String> =
            self.containers.iter().map(|(id, name)| format!("{id}={name}")).collect();
        containers.sort();
        format!("{}/{} {workload} {}", self.namespace, self.name, containers.join(" "))
    }

    pub(in crate::identity) fn container_name(&self, id: &str) -> Option<&String> {
        self.containers.get(id)
    }
}

/// Everything that the API server has told.
#[derive(Clone, Debug, Default)]
pub struct ClusterFacts {
    pods: HashMap<String, ClusterPod>,
    services: HashMap<SocketAddr, Remote>,
    endpoints: HashMap<IpAddr, Endpoint>,
    /// Since when endpoints may be old, kernel nanoseconds.
    old_since_ns: Option<u64>,
}

#[derive(Clone, Debug)]
struct Endpoint {
    remote: Remote,
    /// Since when it is known, kernel nanoseconds.
    since_ns: u64,
}

impl ClusterFacts {
    /// Replaces the pods of this node, by UID.
    pub fn set_pods(&mut self, pods: impl Iterator<Item = (String, ClusterPod)>) {
        self.pods = pods.collect();
    }

    /// Replaces the services.
    pub fn set_services(&mut self, services: impl Iterator<Item = (SocketAddr, (String, String))>) {
        self.services =
            services.map(|(address, name)| (address, named(RemoteKind::Service, name))).collect();
    }

    /// Replaces what is known of pods on other nodes; `gap`: changes may have been
    /// missed before.
    pub fn set_endpoints(
        &mut self,
        pods: impl Iterator<Item = (IpAddr, (String, String))>,
        gap: bool,
    ) {
        let since_ns = now_ns().saturating_add(SETTLING_NS);
        let was_old = self.old_since_ns.take().is_some();
        let gap = gap || was_old;
        let before = std::mem::take(&mut self.endpoints);
        for (address, name) in pods {
            let remote = named(RemoteKind::Pod, name);
            let known = before.get(&address).filter(|known| !gap && known.remote == remote);
            let since_ns = known.map_or(since_ns, |known| known.since_ns);
            let new = Endpoint { remote, since_ns };
            self.endpoints
                .entry(address)
                .and_modify(|other| {
                    // Two pods on one address: neither is proven.
                    if other.remote != new.remote {
                        other.since_ns = u64::MAX;
                    }
                })
                .or_insert(new);
        }
    }

    /// From here on nothing is heard of endpoints.
    pub fn endpoints_may_be_old(&mut self) {
        self.old_since_ns.get_or_insert_with(now_ns);
    }

    pub(crate) fn pod(&self, uid: &str) -> Option<&ClusterPod> {
        self.pods.get(uid)
    }

    /// Who has an address, as far as nothing on this node tells.
    pub(crate) fn find(&self, asked: &RemoteAddress) -> Option<&Remote> {
        if let Some(service) = self.services.get(&asked.address) {
            return Some(service);
        }
        let at_ns = if asked.at_ns == RemoteAddress::NOW { now_ns() } else { asked.at_ns };
        let heard = self.old_since_ns.is_none_or(|old| at_ns < old);
        let endpoint = self.endpoints.get(&asked.address.ip())?;
        (heard && at_ns >= endpoint.since_ns).then_some(&endpoint.remote)
    }
}

fn named(kind: RemoteKind, (namespace, name): (String, String)) -> Remote {
    let source = RemoteSource::KubernetesApi;
    Remote { kind, namespace: Some(namespace), name: Some(name), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> (String, String) {
        ("kube-system".to_owned(), text.to_owned())
    }

    fn label(facts: &ClusterFacts, address: &str, at_ns: u64) -> String {
        let address = address.parse().unwrap();
        let found = facts.find(&RemoteAddress { netns: 1, address, at_ns });
        found.map_or_else(|| "-".to_owned(), ToString::to_string)
    }

    #[test]
    fn an_endpoint_is_named_only_while_its_watch_is_heard() {
        let address: IpAddr = "10.244.1.2".parse().unwrap();
        let mut facts = ClusterFacts::default();
        facts.set_endpoints([(address, name("coredns-x"))].into_iter(), true);
        let known = now_ns() + 2 * SETTLING_NS;
        assert_eq!(label(&facts, "10.244.1.2:53", now_ns()), "-", "it may have just changed");
        assert_eq!(label(&facts, "10.244.1.2:53", known), "pod kube-system/coredns-x");
        // The same again, without a gap, is as old as before.
        facts.set_endpoints([(address, name("coredns-x"))].into_iter(), false);
        assert_eq!(label(&facts, "10.244.1.2:53", known), "pod kube-system/coredns-x");
        facts.endpoints_may_be_old();
        assert_eq!(label(&facts, "10.244.1.2:53", known), "-");
        // Another pod has the address now, or two have.
        facts.set_endpoints([(address, name("coredns-y"))].into_iter(), false);
        assert_eq!(label(&facts, "10.244.1.2:53", now_ns()), "-");
        let two = [(address, name("coredns-y")), (address, name("coredns-z"))];
        facts.set_endpoints(two.into_iter(), false);
        assert_eq!(label(&facts, "10.244.1.2:53", known + 9 * SETTLING_NS), "-");
    }

    #[test]
    fn services_go_by_address_and_port() {
        let mut facts = ClusterFacts::default();
        facts.set_services([("10.96.0.10:53".parse().unwrap(), name("kube-dns"))].into_iter());
        assert_eq!(label(&facts, "10.96.0.10:53", 1), "service kube-system/kube-dns");
        assert_eq!(label(&facts, "10.96.0.10:54", 1), "-");
    }

    #[test]
    fn the_controller_is_the_workload() {
        let workload = |controller, hash| {
            let pod = ClusterPod::new(name("p"), controller, hash, std::iter::empty());
            pod.workload.map(|workload| format!("{} {}", workload.kind, workload.name))
        };
        let set = Some(("ReplicaSet", "web-5d78c9869d"));
        assert_eq!(workload(set, Some("5d78c9869d")).as_deref(), Some("Deployment web"));
        assert_eq!(workload(set, None), None);
        assert_eq!(workload(set, Some("x")), None);
        assert_eq!(
            workload(Some(("DaemonSet", "kube-proxy")), Some("x")).as_deref(),
            Some("DaemonSet kube-proxy")
        );
        assert_eq!(workload(Some(("Job", "backup-1")), None).as_deref(), Some("Job backup-1"));
        assert_eq!(workload(Some(("Node", "a")), None), None);
        assert_eq!(workload(None, None), None);
    }
}
