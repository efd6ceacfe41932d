//! From a pod's UID and a container's id to everything known of them: the
//! kubelet's directories first, then the runtimes' files, then what the runtime lists
//! and what the API server says, where they are asked. Each alone is enough.

use std::{path::PathBuf, sync::Arc, time::Instant};

use super::{
    Owner, PodDetails, RuntimeDirs, SharedFacts,
    bounded::Bounded,
    pod_logs::{PodLogs, PodName},
    retries,
    runtime::{ContainerFacts, PodFacts, RuntimeFiles},
    workload,
};

/// Pods and containers for which the runtime was asked; the oldest is forgotten first.
const MISSED: usize = 1_024;

/// Everything that names pods and containers.
#[derive(Debug)]
pub(super) struct Names {
    logs: PodLogs,
    files: RuntimeFiles,
    /// What the runtime and the API server have told, where they are asked.
    facts: Option<Arc<SharedFacts>>,
    /// For what a name was missing: when to say so again, if ever, and how often it was.
    missed: Bounded<String, (Option<Instant>, u32)>,
}

impl Names {
    pub(super) fn new(log_dir: PathBuf, dirs: RuntimeDirs) -> Self {
        Self {
            logs: PodLogs::new(log_dir),
            files: RuntimeFiles::new(dirs),
            facts: None,
            missed: Bounded::new(MISSED),
        }
    }

    /// Asks the facts of the runtime and the API server too, after the node's files.
    pub(super) fn use_facts(&mut self, facts: Arc<SharedFacts>) {
        self.facts = Some(facts);
    }

    /// Takes in what was announced since the last time.
    pub(super) fn take_new(&mut self) {
        self.logs.take_new();
    }

    /// Reads what the files say of a container outside pods, to be remembered.
    pub(super) fn look_up(&mut self, id: &str, now: Instant) {
        self.files.facts(id, now);
    }

    /// The same for a pod's container, before its first process runs: it has its
    /// own directory then, and the pod's containers that start later have none.
    pub(super) fn look_up_in_pod(&mut self, uid: &str, id: &str, now: Instant) {
        let named = self.files.facts(id, now).is_some_and(|facts| facts.name.is_some());
        let named = named
            || self.logs.name(uid, now).is_some()
                && self.logs.container_name(uid, id, now).is_some();
        if !named {
            self.missed(id, now);
        }
    }

    /// A pod, and which of its containers.
    pub(super) fn pod(&mut self, uid: String, container: Option<String>, now: Instant) -> Owner {
        let facts = container.as_ref().and_then(|id| self.files.facts(id, now));
        // The cgroup is the kubelet's word; a file that names another pod for
        // the same container is not the one that was looked for.
        let ContainerFacts { name, pod: of_files } = facts
            .filter(|facts| {
                let named = facts.pod.as_ref().and_then(|pod| pod.uid.as_ref());
                named.is_none_or(|named| *named == uid)
            })
            .unwrap_or_default();
        let listed = self.facts.as_ref().map(|facts| facts.listed());
        let listed = listed.as_deref();
        let of_runtime = listed.and_then(|listed| listed.pod(&uid));
        let labels = of_files.as_ref().map(|pod| &pod.labels).filter(|labels| !labels.is_empty());
        let labels = labels.or_else(|| of_runtime.map(|pod| &pod.labels)).cloned();
        let labels = labels.unwrap_or_default();
        let pod = self.logs.name(&uid, now).or_else(|| {
            // Without its UID in it a file may be that of another pod's container.
            of_files
                .filter(|pod| pod.uid.is_some())
                .map(|pod| PodName { namespace: pod.namespace, pod: pod.name })
        });
        let pod = pod.or_else(|| {
            let PodFacts { namespace, name, .. } = of_runtime?.clone();
            Some(PodName { namespace, pod: name })
        });
        let cluster = self.facts.as_ref().map(|facts| facts.cluster());
        let told = cluster.as_ref().and_then(|facts| facts.pod(&uid));
        let pod = pod.or_else(|| {
            told.map(|told| PodName { namespace: told.namespace.clone(), pod: told.name.clone() })
        });
        let container_name = name
            .or_else(|| container.as_ref().and_then(|id| self.logs.container_name(&uid, id, now)))
            .or_else(|| listed?.container_name(&uid, container.as_ref()?).cloned())
            .or_else(|| told?.container_name(container.as_ref()?).cloned());
        if pod.is_none() || (container.is_some() && container_name.is_none()) {
            self.missed(container.as_ref().unwrap_or(&uid), now);
        }
        let (namespace, pod) = pod.map(|name| (name.namespace, name.pod)).unzip();
        let of_controller = told.and_then(|told| told.workload.clone());
        let workload = of_controller.or_else(|| {
            let pod = pod.as_ref()?;
            workload::from_labels(pod, &labels).or_else(|| workload::from_pod_name(pod))
        });
        Owner::Pod {
            namespace,
            pod,
            container,
            uid,
            details: PodDetails { container_name, workload },
        }
    }

    /// Says that the name of a pod or container is missing, unless it was said of it a
    /// moment ago or too often: the runtime does not know it then.
    fn missed(&mut self, id: &str, now: Instant) {
        let Some(facts) = &self.facts else { return };
        let times = match self.missed.get(id) {
            Some((next, _)) if next.is_none_or(|next| now < next) => return,
            Some((_, times)) => times + 1,
            None => 1,
        };
        facts.say_missing();
        let next = retries::wait_after(times).map(|wait| now + wait);
        self.missed.insert(id.to_owned(), (next, times));
    }

    /// A container outside pods.
    pub(super) fn container(&mut self, id: String, now: Instant) -> Owner {
        let name = self.files.facts(&id, now).and_then(|facts| facts.name);
        Owner::Container { id, name }
    }
}
