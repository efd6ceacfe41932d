//! Network devices by interface index in the namespace dnsprobe runs in: does
//! what one transmits leave this machine?

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use crate::engine::Device;

/// How long an index keeps its meaning before it is looked up again.
const LIFETIME: Duration = Duration::from_secs(5);

/// Device names and kinds, with a bounded age.
pub(crate) struct Devices {
    own_netns: u32,
    known: HashMap<u32, Option<(String, bool)>>,
    read_at: Option<Instant>,
}

impl Devices {
    /// Devices of the namespace this process is in.
    pub(crate) fn new() -> Self {
        let own_netns =
            fs::metadata("/proc/self/ns/net").map_or(0, |m| u32::try_from(m.ino()).unwrap_or(0));
        Self { own_netns, known: HashMap::new(), read_at: None }
    }

    /// What is known of a device.
    pub(crate) fn describe(&mut self, netns: u32, ifindex: u32) -> Device {
        let known = if netns == self.own_netns { self.find(ifindex) } else { None };
        Device {
            ifindex,
            netns,
            leaves_node: known.as_ref().is_some_and(|(_, leaves)| *leaves),
            name: known.map(|(name, _)| name),
        }
    }

    fn find(&mut self, ifindex: u32) -> Option<(String, bool)> {
        if self.read_at.is_none_or(|at| at.elapsed() > LIFETIME) {
            self.known = read_all(Path::new("/sys/class/net"));
            self.read_at = Some(Instant::now());
        }
        self.known.get(&ifindex).cloned().flatten()
    }
}

fn read_all(root: &Path) -> HashMap<u32, Option<(String, bool)>> {
    let Ok(entries) = fs::read_dir(root) else { return HashMap::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_str()?.to_owned();
            let ifindex = fs::read_to_string(entry.path().join("ifindex")).ok()?;
            let leaves = leaves_node(&entry.path());
            Some((ifindex.trim().parse().ok()?, Some((name, leaves))))
        })
        .collect()
}

/// Whether a device's packets go out of the machine: neither loopback, nor a
/// veth pair, nor a bridge between local ports.
fn leaves_node(device: &Path) -> bool {
    const LOOPBACK: &str = "772";
    let kind = fs::read_to_string(device.join("type")).unwrap_or_default();
    if kind.trim() == LOOPBACK || device.join("bridge").is_dir() {
        return false;
    }
    // A veth's peer is another device of this machine; its link index differs
    // from its own. Stacked devices (VLAN, VXLAN) name their lower device too,
    // but have it as a `lower_` entry.
    let own = fs::read_to_string(device.join("ifindex")).unwrap_or_default();
    let link = fs::read_to_string(device.join("iflink")).unwrap_or_default();
    let stacked = fs::read_dir(device).is_ok_and(|mut d| {
        d.any(|e| e.is_ok_and(|e| e.file_name().to_string_lossy().starts_with("lower_")))
    });
    own.trim() == link.trim() || stacked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(root: &Path, name: &str, files: &[(&str, &str)]) {
        let dir = root.join(name);
        fs::create_dir_all(&dir).unwrap();
        for (file, content) in files {
            fs::write(dir.join(file), content).unwrap();
        }
    }

    #[test]
    fn loopback_and_veth_stay_and_others_leave() {
        let root = std::env::temp_dir().join(format!("dnsprobe-devices-{}", std::process::id()));
        device(&root, "lo", &[("type", "772\n"), ("ifindex", "1\n"), ("iflink", "1\n")]);
        device(&root, "veth0", &[("type", "1\n"), ("ifindex", "2\n"), ("iflink", "7\n")]);
        device(&root, "eth0", &[("type", "1\n"), ("ifindex", "3\n"), ("iflink", "3\n")]);
        let all = read_all(&root);
        assert_eq!(all[&1], Some(("lo".to_owned(), false)));
        assert_eq!(all[&2], Some(("veth0".to_owned(), false)));
        assert_eq!(all[&3], Some(("eth0".to_owned(), true)));
        fs::remove_dir_all(&root).unwrap();
    }
}
