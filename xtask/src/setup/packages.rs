//! The Debian packages that building and the lab guest need, each with its
//! reason. The guest runs on this machine's userland, so what the lab calls
//! has to be installed here.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::Result;

use super::apt;
use crate::shell;
use crate::workspace::Workspace;

/// A package, and how to see that it (or an equivalent) is there.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) why: &'static str,
    /// A program on the system's PATH, or an absolute path.
    probe: &'static str,
}

const fn package(name: &'static str, probe: &'static str, why: &'static str) -> Package {
    Package { name, why, probe }
}

/// Checked and installed in this order.
#[rustfmt::skip]
pub(crate) const PACKAGES: &[Package] = &[
    package("gcc", "cc", "links Rust programs, compiles the lab's glibc client"),
    package("libc6-dev", "/usr/include/stdio.h", "C headers for the lab's glibc client"),
    package("qemu-system-x86", "qemu-system-x86_64", "runs the lab guest"),
    package("busybox-static", "/bin/busybox", "first userland of the guest, before it sees this machine's"),
    package("kmod", "modprobe", "loads kernel modules in the guest"),
    package("xz-utils", "xz", "unpacks kernel modules"),
    package("iproute2", "ip", "pods as network namespaces, delays with tc"),
    package("iptables", "iptables-legacy", "kube-proxy's rules and policy drops"),
    package("nftables", "nft", "policy drops by nftables"),
    package("conntrack", "conntrack", "conntrack statistics the lab checks against"),
    package("ipvsadm", "ipvsadm", "services in IPVS mode"),
    package("tmux", "tmux", "the terminal in which the view of `top` is tested"),
    package("dnsmasq-base", "dnsmasq", "the DNS server of the lab (this package has no service)"),
    package("musl-tools", "musl-gcc", "the lab's client on musl's resolver"),
    package("golang-go", "go", "the lab's client on Go's resolver"),
    package("tshark", "tshark", "reads what `dnsprobe capture` wrote"),
    package("tcpdump", "tcpdump", "packet traces in the guest"),
    package("bind9-dnsutils", "dig", "dig in the guest"),
    package("dnsperf", "dnsperf", "load in the guest"),
    package("python3", "/usr/bin/python3", "scripts in the guest"),
    package("python3-venv", "/usr/share/doc/python3-venv", "the environment of what tries the Helm chart"),
    package("prometheus", "promtool", "checks the alert rules and scrapes `dnsprobe serve`; its service stays off"),
    package("systemd", "systemd-analyze", "checks the unit"),
    package("dpkg", "dpkg-deb", "builds the Debian package"),
    package("bpftrace", "bpftrace", "second opinion on the kernel in the guest; a peer of `cargo xtask bench`"),
    package("containerd", "containerd", "containers of a real runtime in `cargo xtask attribution`; its service stays off"),
    package("containernetworking-plugins", "/usr/lib/cni/bridge", "networks of pods made through CRI"),
    package("runc", "runc", "runs these containers"),
    package("chromium", "chromium", "the browser in which the page of `dnsprobe report` is tested"),
    package("binutils", "objdump", "strips what is packaged; counts the instructions of compiled kernel programs in `cargo xtask bench`"),
];

pub(super) fn missing() -> Vec<&'static Package> {
    PACKAGES.iter().filter(|p| !is_present(p.probe)).collect()
}

fn is_present(probe: &str) -> bool {
    if probe.starts_with('/') {
        return Path::new(probe).exists();
    }
    shell::find_program(probe, OsStr::new(shell::SYSTEM_PATH)).is_some()
}

/// Those without which dnsprobe cannot be built.
const BUILD: [&str; 3] = ["gcc", "libc6-dev", "binutils"];

pub(super) fn prepare(workspace: &Workspace) -> Result<()> {
    install(&missing(), workspace)
}

pub(super) fn prepare_build(workspace: &Workspace) -> Result<()> {
    let missing: Vec<_> = missing().into_iter().filter(|p| BUILD.contains(&p.name)).collect();
    install(&missing, workspace)
}

fn install(missing: &[&'static Package], workspace: &Workspace) -> Result<()> {
    if missing.is_empty() {
        println!("      nothing is missing");
        return Ok(());
    }
    println!("      missing, to be installed with apt-get:");
    for package in missing {
        println!("        {:<16} {}", package.name, package.why);
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    apt::install(&names, workspace)?;
    // These are only run in the guest. Where there is no such tool no service was
    // enabled either.
    for name in ["containerd", "prometheus"].into_iter().filter(|name| names.contains(name)) {
        let mut disable = shell::as_root("deb-systemd-helper");
        if let Err(error) = shell::output(disable.args(["disable", &format!("{name}.service")])) {
            println!("      the service of {name} could not be disabled: {error:#}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_find_programs_and_paths() {
        assert!(is_present("sh"));
        assert!(is_present("/proc/self"));
        assert!(!is_present("no-such-program"));
        assert!(!is_present("/no/such/path"));
    }

    #[test]
    fn every_package_is_listed_once() {
        assert!(BUILD.iter().all(|name| PACKAGES.iter().any(|p| p.name == *name)));
        for (index, package) in PACKAGES.iter().enumerate() {
            assert!(!package.why.is_empty(), "{}", package.name);
            assert!(
                PACKAGES[..index].iter().all(|p| p.name != package.name),
                "{} is listed twice",
                package.name
            );
        }
    }
}
