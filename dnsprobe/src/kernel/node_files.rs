//! What the kernel says of its own state, word for word: evidence that goes
//! into recordings and tickets.

use std::{fs::File, io::Read, path::Path};

use super::Counters;
use crate::setup::Sysctl;

/// Bytes kept of a file.
const MAX_BYTES: u64 = 64 << 10;

/// A file of the node, or something like it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeText {
    /// Its path; without a slash in front: put together by dnsprobe.
    pub path: String,
    /// The text, as far as it was kept.
    pub text: String,
    /// Whether there was more.
    pub cut: bool,
}

/// What changes while watching: read before and after.
const CHANGING: [&str; 10] = [
    "/proc/net/stat/nf_conntrack",
    "/proc/sys/net/netfilter/nf_conntrack_count",
    "/proc/net/softnet_stat",
    "/proc/net/snmp",
    "/proc/net/snmp6",
    "/proc/net/sockstat",
    "/proc/net/dev",
    "/proc/net/ip_vs",
    "/proc/net/ip_vs_conn",
    "/proc/net/ip_vs_stats",
];

/// What stays as it is.
const FIXED: [&str; 2] = ["/proc/version", "/proc/modules"];

/// Prefixes of the kernel's build options that DNS traffic can depend on.
const CONFIG: [&str; 9] = [
    "CONFIG_NETFILTER",
    "CONFIG_NF_",
    "CONFIG_IP_VS",
    "CONFIG_BPF",
    "CONFIG_DEBUG_INFO_BTF",
    "CONFIG_NET_SCH_",
    "CONFIG_PREEMPT",
    "CONFIG_HZ",
    "CONFIG_SECURITY_LOCKDOWN",
];

/// Everything, before the watch. What cannot be read is left out.
#[must_use]
pub fn node_files_before() -> Vec<NodeText> {
    let mut texts: Vec<NodeText> = FIXED.iter().filter_map(|path| read(path)).collect();
    texts.push(made("sysctls", sysctls()));
    if let Some(config) = config() {
        texts.push(made("kernel-config", config));
    }
    texts.extend(node_files_after());
    texts
}

/// What may have changed, after the watch.
#[must_use]
pub fn node_files_after() -> Vec<NodeText> {
    let counters = serde_json::to_string_pretty(&Counters::read()).unwrap_or_default() + "\n";
    let mut texts = vec![made("counters.json", counters)];
    texts.extend(CHANGING.iter().filter_map(|path| read(path)));
    texts
}

fn made(path: &str, text: String) -> NodeText {
    NodeText { path: path.to_owned(), text, cut: false }
}

fn read(path: &str) -> Option<NodeText> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_BYTES + 1).read_to_end(&mut bytes).ok()?;
    let cut = bytes.len() as u64 > MAX_BYTES;
    if cut {
        // Whole lines only.
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        bytes.truncate(end);
    }
    Some(NodeText {
        path: path.to_owned(),
        text: String::from_utf8_lossy(&bytes).into_owned(),
        cut,
    })
}

/// `name = value`, one a line, of those that this kernel has.
fn sysctls() -> String {
    Sysctl::ALL
        .into_iter()
        .filter_map(|sysctl| {
            let path = format!("/proc/sys/{}", sysctl.name().replace('.', "/"));
            let value = std::fs::read_to_string(path).ok()?;
            Some(format!("{} = {}\n", sysctl.name(), value.trim()))
        })
        .collect()
}

/// The build options of the running kernel, where the distribution keeps them.
fn config() -> Option<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let release = release.trim();
    [format!("/boot/config-{release}"), format!("/lib/modules/{release}/config")]
        .iter()
        .find_map(|path| std::fs::read_to_string(Path::new(path)).ok())
        .map(|text| relevant(&text))
}

fn relevant(config: &str) -> String {
    let lines = config.lines().filter(|line| CONFIG.iter().any(|prefix| line.starts_with(prefix)));
    lines.map(|line| line.to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_counters_and_settings() {
        let texts = node_files_before();
        let of = |path: &str| &texts.iter().find(|text| text.path == path).unwrap().text;
        assert!(of("counters.json").contains("\"rcvbuf_errors\""));
        assert!(of("sysctls").contains("net.core.rmem_max = "));
        assert!(of("/proc/net/snmp").contains("Udp: "));
    }

    #[test]
    fn only_build_options_that_matter_are_kept() {
        let config =
            "CONFIG_NF_CONNTRACK=m\n# CONFIG_NF_X is not set\nCONFIG_DRM=y\nCONFIG_HZ=250\n";
        assert_eq!(relevant(config), "CONFIG_NF_CONNTRACK=m\nCONFIG_HZ=250\n");
    }

    #[test]
    fn a_long_file_ends_with_a_whole_line() {
        let path = std::env::temp_dir().join(format!("dnsprobe-long-{}", std::process::id()));
        std::fs::write(&path, "0123456789\n".repeat(10_000)).unwrap();
        let text = read(path.to_str().unwrap()).unwrap();
        std::fs::remove_file(path).unwrap();
        assert!(text.cut && text.text.ends_with("9\n"));
        assert!(text.text.len() as u64 <= MAX_BYTES);
    }
}
