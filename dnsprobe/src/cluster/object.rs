//! The few fields of Kubernetes objects that are of use here. Whatever else an
//! object has is passed over as it is read; text is checked before it is kept.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::Deserialize;

/// The longest name that Kubernetes allows.
const NAME_BYTES: usize = 253;
/// Containers and addresses kept of one object.
const PARTS: usize = 256;

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct List<T> {
    kind: String,
    pub(super) metadata: ListMeta,
    pub(super) items: Option<Vec<T>>,
}

impl<T> List<T> {
    /// Whether it is what it was asked for: an empty answer of something else must
    /// not pass for an empty list.
    pub(super) fn is_list(&self) -> bool {
        self.kind.ends_with("List") && !self.metadata.resource_version.is_empty()
    }
}

/// Where a list stands, and whether there is more of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ListMeta {
    pub(super) resource_version: String,
    #[serde(rename = "continue")]
    pub(super) more: Option<String>,
}

/// What every object has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    pub(super) labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    pub(super) owner_references: Vec<OwnerReference>,
}

impl Meta {
    /// The UID that the kubelet gave a pod of its own, in whose place the API has a
    /// mirror with another UID.
    pub(super) fn static_pod_hash(&self) -> Option<&str> {
        self.annotations.get("kubernetes.io/config.hash").map(String::as_str)
    }
}

/// Who made an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct OwnerReference {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) controller: bool,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    pub(super) metadata: Meta,
    status: PodStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodStatus {
    container_statuses: Vec<ContainerStatus>,
    init_container_statuses: Vec<ContainerStatus>,
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    name: String,
    /// `containerd://0123...`.
    #[serde(rename = "containerID")]
    container_id: Option<String>,
}

impl Pod {
    /// Ids of its containers and their names.
    pub(super) fn containers(&self) -> impl Iterator<Item = (&str, &str)> {
        let PodStatus { container_statuses, init_container_statuses, ephemeral_container_statuses } =
            &self.status;
        [container_statuses, init_container_statuses, ephemeral_container_statuses]
            .into_iter()
            .flatten()
            .filter(|status| is_name(&status.name))
            .filter_map(|status| {
                let (_, id) = status.container_id.as_deref()?.split_once("://")?;
                Some((id, status.name.as_str()))
            })
            .take(PARTS)
    }
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    pub(super) metadata: Meta,
    spec: ServiceSpec,
    status: ServiceStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct ServiceSpec {
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Vec<String>,
    #[serde(rename = "externalIPs")]
    external_ips: Vec<String>,
    ports: Vec<Port>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Port {
    port: Option<u16>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ServiceStatus {
    load_balancer: LoadBalancer,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    ingress: Vec<Ingress>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Ingress {
    ip: Option<String>,
}

impl Service {
    /// Its addresses on ports of interest; a headless service has none.
    pub(super) fn addresses(&self, ports: &[u16]) -> Vec<SocketAddr> {
        let spec = &self.spec;
        let ingress =
            self.status.load_balancer.ingress.iter().filter_map(|point| point.ip.as_ref());
        let ips: Vec<IpAddr> = spec
            .cluster_ip
            .iter()
            .chain(&spec.cluster_ips)
            .chain(&spec.external_ips)
            .chain(ingress)
            .filter_map(|ip| ip.parse().ok())
            .take(PARTS)
            .collect();
        let asked =
            spec.ports.iter().filter_map(|port| port.port).filter(|port| ports.contains(port));
        let mut addresses: Vec<SocketAddr> = asked
            .take(PARTS)
            .flat_map(|port| ips.iter().map(move |ip| SocketAddr::new(*ip, port)))
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}

/// A part of a service's endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct EndpointSlice {
    pub(super) metadata: Meta,
    endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Endpoint {
    addresses: Vec<String>,
    target_ref: Option<TargetReference>,
    node_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct TargetReference {
    kind: String,
    namespace: String,
    name: String,
}

impl EndpointSlice {
    /// Namespace and name of the service.
    pub(super) fn service(&self) -> Option<(&str, &str)> {
        let name = self.metadata.labels.get("kubernetes.io/service-name")?;
        Some((&self.metadata.namespace, name))
    }

    /// Pods of other nodes than this one: address, namespace, name. This node's own
    /// pods are known better, from their network namespaces.
    pub(super) fn pods_elsewhere(&self, node: &str) -> Vec<(IpAddr, (String, String))> {
        self.endpoints
            .iter()
            .filter(|endpoint| endpoint.node_name.as_deref().is_some_and(|name| name != node))
            .filter_map(|endpoint| {
                let pod = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod")?;
                let name = (is_name(&pod.namespace) && is_name(&pod.name))
                    .then(|| (pod.namespace.clone(), pod.name.clone()))?;
                Some(
                    endpoint
                        .addresses
                        .iter()
                        .filter_map(move |ip| Some((ip.parse().ok()?, name.clone()))),
                )
            })
            .flatten()
            .take(4 * PARTS)
            .collect()
    }
}

/// Whether text is a name as Kubernetes allows it, with nothing that a terminal
/// would obey.
pub(super) fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_its_addresses_on_the_ports_that_are_watched() {
        let service: Service = serde_json::from_str(
            r#"{"metadata":{"name":"kube-dns","namespace":"kube-system"},"spec":{
                "clusterIP":"10.96.0.10","clusterIPs":["10.96.0.10","fd00::a"],
                "externalIPs":["192.0.2.9"],
                "ports":[{"name":"dns","port":53,"protocol":"UDP"},{"name":"dns-tcp","port":53},
                         {"name":"metrics","port":9153}]},
                "status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.10"},{"hostname":"x"}]}}}"#,
        )
        .unwrap();
        let addresses: Vec<String> =
            service.addresses(&[53]).iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.96.0.10:53", "192.0.2.9:53", "192.0.2.10:53", "[fd00::a]:53"]);
        assert!(service.addresses(&[8053]).is_empty());
        let headless: Service =
            serde_json::from_str(r#"{"spec":{"clusterIP":"None","ports":[{"port":53}]}}"#).unwrap();
        assert!(headless.addresses(&[53]).is_empty());
    }

    #[test]
    fn endpoints_name_pods_of_other_nodes() {
        let slice: EndpointSlice = serde_json::from_str(
            r#"{"metadata":{"namespace":"kube-system","labels":{"kubernetes.io/service-name":"kube-dns"}},
                "endpoints":[
                 {"addresses":["10.244.1.2"],"nodeName":"b","targetRef":{"kind":"Pod","namespace":"kube-system","name":"coredns-x"}},
                 {"addresses":["10.244.0.2"],"nodeName":"a","targetRef":{"kind":"Pod","namespace":"kube-system","name":"coredns-y"}},
                 {"addresses":["10.244.1.3"],"targetRef":{"kind":"Pod","namespace":"kube-system","name":"coredns-z"}},
                 {"addresses":["10.0.0.9"],"nodeName":"b"},
                 {"addresses":["nonsense"],"nodeName":"b","targetRef":{"kind":"Pod","namespace":"k","name":"p"}},
                 {"addresses":["10.244.1.4"],"nodeName":"b","targetRef":{"kind":"Pod","namespace":"k","name":"p\u001b"}}]}"#,
        )
        .unwrap();
        assert_eq!(slice.service(), Some(("kube-system", "kube-dns")));
        let found = slice.pods_elsewhere("a");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0.to_string(), "10.244.1.2");
    }

    #[test]
    fn a_pod_names_every_kind_of_container() {
        let pod: Pod = serde_json::from_str(
            r#"{"metadata":{"name":"cart-0"},"status":{
                "containerStatuses":[{"name":"app","containerID":"containerd://aa"},{"name":"late"}],
                "initContainerStatuses":[{"name":"init","containerID":"cri-o://bb"}],
                "ephemeralContainerStatuses":[{"name":"Debug","containerID":"containerd://cc"}]}}"#,
        )
        .unwrap();
        assert_eq!(pod.containers().collect::<Vec<_>>(), [("aa", "app"), ("bb", "init")]);
    }
}
