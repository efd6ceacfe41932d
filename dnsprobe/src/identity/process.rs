//! What `/proc` tells of a process that uses a socket.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{escape, placement::Placement, runtime::read_bounded};

/// The process directory tree.
#[derive(Debug)]
pub(super) struct Processes {
    root: PathBuf,
}

impl Processes {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The directory of all processes.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Inode of the network namespace a process is in; `None` when it is gone.
    pub(super) fn netns(&self, tgid: u32) -> Option<u32> {
        let link = fs::read_link(self.root.join(format!("{tgid}/ns/net"))).ok()?;
        link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
    }

    /// Processes that are in a network namespace; a look at every process.
    pub(super) fn in_netns(&self, netns: u32) -> Vec<u32> {
        let mut processes = self.all();
        processes.retain(|&tgid| self.netns(tgid) == Some(netns));
        processes
    }

    /// Inode of the host's own network namespace.
    pub(super) fn host_netns(&self) -> Option<u32> {
        self.netns(1)
    }

    /// A process's command, escaped; `None` when it is gone.
    pub(super) fn command(&self, tgid: u32) -> Option<String> {
        let bytes = fs::read(self.root.join(format!("{tgid}/comm"))).ok()?;
        let comm = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        (!comm.is_empty()).then(|| escape(comm))
    }

    /// Where a process is placed by any of its cgroup hierarchies: a pod if
    /// one of them says so, else the unit systemd put it in.
    pub(super) fn placement(&self, tgid: u32) -> Option<Placement> {
        let bytes =
            read_bounded(&self.root.join(format!("{tgid}/cgroup")), CGROUP_TEXT_BYTES).ok()?;
        Some(placement(&String::from_utf8_lossy(&bytes)))
    }
}

/// The most that is read of a `cgroup` file: a dozen hierarchies, each with the
/// longest path there may be, are not more.
const CGROUP_TEXT_BYTES: u64 = 64 << 10;

/// Reads a `/proc/PID/cgroup` text: lines `number:controllers:path`.
fn placement(text: &str) -> Placement {
    let mut unit = Placement::Nameless;
    let mut container = None;
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        match Placement::of(path) {
            pod @ Placement::Pod { .. } => return pod,
            found @ Placement::Container { .. } => container = container.or(Some(found)),
            // Other hierarchies may lag behind systemd's own.
            found @ Placement::Unit(_) if matches!(controllers, "" | "name=systemd") => {
                unit = found;
            }
            Placement::Unit(_) | Placement::Nameless => {}
        }
    }
    container.unwrap_or(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::testing::FakeProc;

    #[test]
    fn any_hierarchy_may_name_the_pod() {
        let text =
            "4:memory:/kubepods/burstable/podu-1/x\n1:name=systemd:/system.slice/a.service\n0::/\n";
        assert_eq!(placement(text), Placement::Pod { uid: "u-1".into(), container: None });
    }

    #[test]
    fn a_container_outside_pods_comes_before_the_unit_that_runs_it() {
        let id = "ab".repeat(32);
        let text = format!("4:memory:/docker/{id}\n1:name=systemd:/system.slice/a.service\n");
        assert_eq!(placement(&text), Placement::Container { id });
    }

    #[test]
    fn a_host_process_is_named_by_systemd() {
        let text = "4:memory:/other.service\n1:name=systemd:/system.slice/a.service\n0::/\n";
        assert_eq!(placement(text), Placement::Unit("a.service".into()));
        assert_eq!(placement("0::/\n9:cpu:/x\ngarbage\n"), Placement::Nameless);
    }

    #[test]
    fn a_process_tells_its_namespace_and_an_escaped_command() {
        let proc = FakeProc::new();
        proc.add(12, 4026531840, b"evil\x1b[31m\nname\n", "0::/\n");
        let processes = Processes::new(proc.path().to_owned());
        assert_eq!(processes.netns(12), Some(4026531840));
        assert_eq!(processes.command(12).as_deref(), Some(r"evil\027[31m\010name"));
        assert_eq!(processes.placement(12), Some(Placement::Nameless));
        assert_eq!(processes.netns(13), None);
        assert_eq!(processes.command(13), None);
    }
}
