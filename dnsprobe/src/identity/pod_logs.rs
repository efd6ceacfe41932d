//! Pod UID to namespace and name, from the directories kubelet keeps for pod
//! logs: `NAMESPACE_NAME_UID`; and container id to name, from the directories in
//! them and the links beside them. No cluster credentials needed.

mod watch;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use self::watch::Watch;
use super::{bounded::Bounded, placement::normal_uid, runtime::ContainerId};

/// At most one reading in this time, however many UIDs are unknown.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// Pods remembered; the oldest is forgotten first, and found again as long as it
/// has a directory.
const PODS: usize = 8_192;
/// Containers remembered; the oldest is forgotten first.
const CONTAINERS: usize = 8_192;
/// Links read at once; a full node has some hundreds.
const LINKS: usize = 16_384;

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
    names: Bounded<String, PodName>,
    /// Tells of new directories, also of those that are gone again.
    watch: Option<Watch>,
    read_at: Option<Instant>,
    /// Container names by id; outlives links and directories.
    containers: Bounded<ContainerId, String>,
    /// Tells of new links.
    links_watch: Option<Watch>,
    links_read_at: Option<Instant>,
}

impl PodLogs {
    pub(super) fn new(directory: PathBuf) -> Self {
        let mut new = Self {
            watch: Watch::of(&directory),
            directory,
            names: Bounded::new(PODS),
            read_at: None,
            containers: Bounded::new(CONTAINERS),
            links_watch: None,
            links_read_at: None,
        };
        new.watch_links();
        new
    }

    /// The names of the pod with this UID; `None` when no directory tells.
    pub(super) fn name(&mut self, uid: &str, now: Instant) -> Option<PodName> {
        if self.names.get(uid).is_none() {
            self.take_new();
        }
        let due = self.read_at.is_none_or(|at| now.duration_since(at) >= READ_INTERVAL);
        if due && self.names.get(uid).is_none() {
            self.read_at = Some(now);
            self.read();
        }
        self.names.get(uid).cloned()
    }

    /// Takes in the directories and links that were made since the last time.
    pub(super) fn take_new(&mut self) {
        while let Some(directory) = self.watch.as_mut().and_then(Watch::next) {
            if let Some((uid, name)) = directory.to_str().and_then(parse) {
                self.names.insert(uid, name);
            }
        }
        while let Some(link) = self.links_watch.as_mut().and_then(Watch::next) {
            if let Some((id, name)) = link.to_str().and_then(parse_link) {
                self.containers.insert(id, name);
            }
        }
    }

    /// The name of a pod's container; `None` when neither a link names its id
    /// nor the pod has a single one.
    pub(super) fn container_name(&mut self, uid: &str, id: &str, now: Instant) -> Option<String> {
        let id = ContainerId::parse(id)?;
        if self.containers.get(&id).is_none() {
            self.take_new();
        }
        if let Some(name) = self.containers.get(&id) {
            return Some(name.clone());
        }
        if let Some(only) = self.only_container(uid) {
            self.containers.insert(id, only.clone());
            return Some(only);
        }
        let due = self.links_read_at.is_none_or(|at| now.duration_since(at) >= READ_INTERVAL);
        if due {
            self.links_read_at = Some(now);
            self.read_links();
        }
        self.containers.get(&id).cloned()
    }

    /// `POD_NAMESPACE_CONTAINER-ID.log`, which the kubelet keeps beside the
    /// pods' directories.
    fn read_links(&mut self) {
        // The directory may have come after we started.
        if self.links_watch.is_none() {
            self.watch_links();
        }
        let entries = self.links().and_then(|links| fs::read_dir(links).ok());
        for entry in entries.into_iter().flatten().flatten().take(LINKS) {
            if let Some((id, name)) = entry.file_name().to_str().and_then(parse_link) {
                self.containers.insert(id, name);
            }
        }
    }

    fn watch_links(&mut self) {
        self.links_watch = self.links().and_then(|links| Watch::of(&links));
    }

    fn links(&self) -> Option<PathBuf> {
        Some(self.directory.parent()?.join("containers"))
    }

    /// A container has its directory before it starts, so where a pod has one
    /// directory it has no other container.
    fn only_container(&self, uid: &str) -> Option<String> {
        let PodName { namespace, pod } = self.names.get(uid)?;
        let mut containers =
            fs::read_dir(self.directory.join(format!("{namespace}_{pod}_{uid}"))).ok()?.flatten();
        let only = containers.next()?.file_name().into_string().ok()?;
        (containers.next().is_none() && is_kubernetes_name(&only)).then_some(only)
    }

    fn read(&mut self) {
        // The directory may have come after we started.
        if self.watch.is_none() {
            self.watch = Watch::of(&self.directory);
        }
        // A missing directory means no kubelet; every pod then keeps its UID
        // for a label, which shows it.
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let found = entries.flatten().filter_map(|entry| parse(entry.file_name().to_str()?));
        for (uid, name) in found.take(PODS) {
            self.names.insert(uid, name);
        }
    }
}

/// Splits a link's name.
fn parse_link(link: &str) -> Option<(ContainerId, String)> {
    let (rest, id) = link.strip_suffix(".log")?.rsplit_once('-')?;
    let container = rest.rsplit_once('_')?.1;
    is_kubernetes_name(container)
        .then(|| Some((ContainerId::parse(id)?, container.to_owned())))
        .flatten()
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
mod tests;
