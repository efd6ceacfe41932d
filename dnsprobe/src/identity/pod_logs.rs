//! Pod UID to namespace and name, from the directories kubelet keeps for pod
//! logs: `NAMESPACE_NAME_UID`. No cluster credentials needed.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::placement::normal_uid;

/// At most one reading in this time, however many UIDs are unknown.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// Pods remembered; beyond it those whose directory is gone are forgotten.
const PODS: usize = 8_192;

/// A pod's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodName {
    pub(super) namespace: String,
    pub(super) pod: String,
}

/// Index of kubelet's pod log directories.
#[derive(Debug)]
pub(super) struct PodLogs {
    directory: PathBuf,
    /// Outlives the directories, so that a deleted pod keeps its name.
    names: HashMap<String, PodName>,
    read_at: Option<Instant>,
}

impl PodLogs {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, names: HashMap::new(), read_at: None }
    }

    /// The names of the pod with this UID; `None` when no directory tells.
    pub(super) fn name(&mut self, uid: &str, now: Instant) -> Option<PodName> {
        let due = self.read_at.is_none_or(|at| now.duration_since(at) >= READ_INTERVAL);
        if due && !self.names.contains_key(uid) {
            self.read_at = Some(now);
            self.read();
        }
        self.names.get(uid).cloned()
    }

    fn read(&mut self) {
        // A missing directory means no kubelet; every pod then keeps its UID
        // for a label, which shows it.
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        if self.names.len() >= PODS {
            self.names.clear();
        }
        let found = entries.flatten().filter_map(|entry| parse(entry.file_name().to_str()?));
        self.names.extend(found.take(PODS));
    }
}

/// Splits a directory name. Kubernetes names hold no underscore, so the split
/// is unambiguous, and anything else than a Kubernetes name is ignored.
fn parse(directory: &str) -> Option<(String, PodName)> {
    let mut parts = directory.splitn(3, '_');
    let (namespace, pod, uid) = (parts.next()?, parts.next()?, parts.next()?);
    let uid = normal_uid(uid)?;
    (is_kubernetes_name(namespace) && is_kubernetes_name(pod))
        .then(|| (uid, PodName { namespace: namespace.to_owned(), pod: pod.to_owned() }))
}

fn is_kubernetes_name(name: &str) -> bool {
    (1..=253).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::testing::TempDir;

    #[test]
    fn a_directory_name_is_split_into_namespace_pod_and_uid() {
        let (uid, name) = parse("kube-system_coredns-5d78c-x.1_0f3a1b2c-1111-2222").unwrap();
        assert_eq!(uid, "0f3a1b2c-1111-2222");
        assert_eq!(
            name,
            PodName { namespace: "kube-system".into(), pod: "coredns-5d78c-x.1".into() }
        );
    }

    #[test]
    fn what_is_not_a_pod_directory_is_ignored() {
        for name in ["", "a_b", "a_b_", "_b_c", "a\x1b[2J_b_c", "a_b\n_c", "A_b_c", "a_b_c d"] {
            assert_eq!(parse(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_new_pod_is_found_after_the_interval_and_keeps_its_name_when_deleted() {
        let temp = TempDir::new();
        let mut logs = PodLogs::new(temp.path().to_owned());
        let start = Instant::now();
        assert_eq!(logs.name("u1", start), None);
        let directory = temp.path().join("shop_cart-0_u1");
        fs::create_dir(&directory).unwrap();
        assert_eq!(logs.name("u1", start + READ_INTERVAL / 2), None);
        let found = logs.name("u1", start + READ_INTERVAL);
        assert_eq!(found.unwrap().pod, "cart-0");
        fs::remove_dir(&directory).unwrap();
        assert!(logs.name("u2", start + 2 * READ_INTERVAL).is_none());
        assert!(logs.name("u1", start + 3 * READ_INTERVAL).is_some());
    }
}
