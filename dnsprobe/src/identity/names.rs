//! From a pod's UID and a container's id to everything known of them: the
//! kubelet's directories first, then the runtimes' files, then what the API server
//! says, where it is asked. Each alone is enough.

use std::{path::PathBuf, sync::Arc, time::Instant};

use super::{
    Owner, PodDetails, RuntimeDirs, SharedFacts,
    pod_logs::{PodLogs, PodName},
    runtime::{ContainerFacts, RuntimeFiles},
    workload,
};

/// Everything that names pods and containers.
#[derive(Debug)]
pub(super) struct Names {
    logs: PodLogs,
    files: RuntimeFiles,
    /// What the API server has told, where it is asked.
    facts: Option<Arc<SharedFacts>>,
}

impl Names {
    pub(super) fn new(log_dir: PathBuf, dirs: RuntimeDirs) -> Self {
        Self { logs: PodLogs::new(log_dir), files: RuntimeFiles::new(dirs), facts: None }
    }

    /// Asks the API server's facts too, after everything of this node.
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
        if !named && self.logs.name(uid, now).is_some() {
            self.logs.container_name(uid, id, now);
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
        let labels = of_files.as_ref().map(|pod| pod.labels.clone()).unwrap_or_default();
        let pod = self.logs.name(&uid, now).or_else(|| {
            // Without its UID in it a file may be that of another pod's container.
            of_files
                .filter(|pod| pod.uid.is_some())
                .map(|pod| PodName { namespace: pod.namespace, pod: pod.name })
        });
        let cluster = self.facts.as_ref().map(|facts| facts.cluster());
        let told = cluster.as_ref().and_then(|facts| facts.pod(&uid));
        let pod = pod.or_else(|| {
            told.map(|told| PodName { namespace: told.namespace.clone(), pod: told.name.clone() })
        });
        let container_name = name
            .or_else(|| container.as_ref().and_then(|id| self.logs.container_name(&uid, id, now)))
            .or_else(|| told?.container_name(container.as_ref()?).cloned());
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

    /// A container outside pods.
    pub(super) fn container(&mut self, id: String, now: Instant) -> Owner {
        let name = self.files.facts(&id, now).and_then(|facts| facts.name);
        Owner::Container { id, name }
    }
}
