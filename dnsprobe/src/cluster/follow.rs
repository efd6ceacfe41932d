//! The three kinds of objects together, and what they come to.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    Wanted,
    access::Access,
    client::ClientError,
    mirror::{Kind, Mirror},
    object::{EndpointSlice, Meta, Pod, Service, is_name},
    watch::{Patience, Place, Step, follow, in_url},
};
use crate::identity::{ClusterFacts, ClusterPod, SharedFacts};

pub(super) const PATIENCE: Patience =
    Patience { first: Duration::from_secs(1), longest: Duration::from_secs(60) };
/// How often the same trouble is told.
const SAY_AGAIN: Duration = Duration::from_secs(300);

type Name = (String, String);

impl Kind for Pod {
    type Kept = (String, ClusterPod);
    const MOST: usize = 2_048;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Kind for Service {
    type Kept = Vec<SocketAddr>;
    const MOST: usize = 4_096;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Kind for EndpointSlice {
    type Kept = Vec<(IpAddr, Name)>;
    const MOST: usize = 4_096;

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// Follows everything, for ever.
pub(super) async fn all(
    access: &Access,
    wanted: &Wanted,
    patience: Patience,
    shared: &SharedFacts,
) {
    let state = RefCell::new(State { facts: ClusterFacts::default(), said: None, shared });
    let services: RefCell<BTreeSet<Name>> = RefCell::new(BTreeSet::new());
    let (never, more_services) = (Notify::new(), Notify::new());
    let pods = Place {
        path: "/api/v1/pods",
        filter: Some(format!("fieldSelector=spec.nodeName%3D{}", in_url(&wanted.node))),
    };
    let of_pods = follow(access, &pods, patience, &never, kept_pod, |mirror, step| {
        state.borrow_mut().take("pods", mirror, step, |facts, mirror, _| {
            facts.set_pods(mirror.objects().map(|(_, pod)| pod.clone()));
        });
    });
    let place = Place { path: "/api/v1/services", filter: None };
    let keep = |service: &Service| {
        let meta = &service.metadata;
        let addresses = service.addresses(&wanted.ports);
        (is_name(&meta.namespace) && is_name(&meta.name) && !addresses.is_empty())
            .then_some(addresses)
    };
    let of_services =
        follow(access, &place, patience, &never, keep, |mirror: &Mirror<Service>, step| {
            state.borrow_mut().take("services", mirror, step, |facts, mirror, _| {
                facts.set_services(mirror.objects().flat_map(|(name, addresses)| {
                    addresses.iter().map(move |address| (*address, name.clone()))
                }));
            });
            let known: BTreeSet<Name> = mirror.objects().map(|(name, _)| name.clone()).collect();
            let before = services.replace(known);
            if !services.borrow().is_subset(&before) {
                more_services.notify_one();
            }
        });
    let place = Place { path: "/apis/discovery.k8s.io/v1/endpointslices", filter: None };
    // Of the cluster's endpoints only those of these services are kept.
    let keep = |slice: &EndpointSlice| {
        let (namespace, name) = slice.service()?;
        let key = (namespace.to_owned(), name.to_owned());
        services.borrow().contains(&key).then(|| slice.pods_elsewhere(&wanted.node))
    };
    let of_endpoints =
        async {
            more_services.notified().await;
            follow(
                access,
                &place,
                patience,
                &more_services,
                keep,
                |mirror: &Mirror<EndpointSlice>, step| {
                    state.borrow_mut().take("endpoints", mirror, step, |facts, mirror, step| {
                        match step {
                            Step::Failed(_) => facts.endpoints_may_be_old(),
                            Step::Listed | Step::Watching | Step::Changed => {
                                let pods =
                                    mirror.objects().flat_map(|(_, pods)| pods.iter().cloned());
                                facts.set_endpoints(pods, matches!(step, Step::Listed));
                            }
                        }
                    });
                },
            )
            .await;
        };
    tokio::join!(of_pods, of_services, of_endpoints);
}

fn kept_pod(pod: &Pod) -> Option<(String, ClusterPod)> {
    let meta = &pod.metadata;
    (is_name(&meta.namespace) && is_name(&meta.name)).then(|| {
        let owner = meta.owner_references.iter().find(|owner| owner.controller);
        let owner = owner.filter(|owner| is_name(&owner.name));
        let kept = ClusterPod::new(
            (meta.namespace.clone(), meta.name.clone()),
            owner.map(|owner| (owner.kind.as_str(), owner.name.as_str())),
            meta.labels.get("pod-template-hash").map(String::as_str),
            pod.containers(),
        );
        (uid(meta), kept)
    })
}

/// The UID under which a pod's cgroup goes: a static pod's is a hash that the
/// kubelet made and put into an annotation, which the API calls its mirror.
fn uid(meta: &Meta) -> String {
    meta.static_pod_hash().map_or_else(|| meta.uid.clone(), str::to_owned)
}

struct State<'a> {
    facts: ClusterFacts,
    /// The trouble told last, of which kind of object, and when.
    said: Option<(&'static str, String, Instant)>,
    shared: &'a SharedFacts,
}

impl State<'_> {
    fn take<K: Kind>(
        &mut self,
        what: &'static str,
        mirror: &Mirror<K>,
        step: Step,
        change: impl FnOnce(&mut ClusterFacts, &Mirror<K>, &Step),
    ) {
        if let Step::Failed(error) = &step {
            self.tell(what, error);
        } else if self.said.as_ref().is_some_and(|(said, ..)| *said == what) {
            eprintln!("dnsprobe: the Kubernetes API tells of {what} again");
            self.said = None;
        }
        if matches!(step, Step::Listed) && mirror.left_out() > 0 {
            eprintln!("dnsprobe: {} {what} of the Kubernetes API are left out", mirror.left_out());
        }
        change(&mut self.facts, mirror, &step);
        self.shared.publish_cluster(self.facts.clone());
    }

    fn tell(&mut self, what: &'static str, error: &ClientError) {
        let text = error.to_string();
        let same = self.said.as_ref().is_some_and(|(said, before, at)| {
            *said == what && *before == text && at.elapsed() < SAY_AGAIN
        });
        if !same {
            eprintln!("dnsprobe: the Kubernetes API, {what}: {text}; what is known stays");
            self.said = Some((what, text, Instant::now()));
        }
    }
}
