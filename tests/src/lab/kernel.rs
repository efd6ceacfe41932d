//! The running kernel's series: what a scenario expects may depend on it.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Major and minor number of a kernel release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kernel(pub u32, pub u32);

impl Kernel {
    /// The kernel we run on.
    pub fn running() -> Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        Self::parse(&release).with_context(|| format!("not a kernel release: {release}"))
    }

    fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

/// Whether a packet that returns from an NFQUEUE unconfirmed runs into a clash
/// with an entry confirmed meanwhile. Until 6.1 the kernel looks again at that
/// moment and takes the confirmed entry over; no clash.
#[must_use]
pub fn merges_after_queue(kernel: Kernel) -> bool {
    kernel >= Kernel(6, 12)
}

/// Whether the running kernel, with the modules it has loaded, holds one of
/// these functions.
#[must_use]
pub fn has_one_of(functions: &[&str]) -> bool {
    fs::read_to_string("/proc/kallsyms").is_ok_and(|symbols| names_one_of(&symbols, functions))
}

/// Whether the machine has a processor that can be taken offline.
#[must_use]
pub fn has_second_processor() -> bool {
    Path::new("/sys/devices/system/cpu/cpu1/online").exists()
}

fn names_one_of(symbols: &str, functions: &[&str]) -> bool {
    symbols
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2))
        .any(|name| functions.contains(&name))
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions_are_understood() {
        assert_eq!(Kernel::parse("6.12.117+deb12-amd64\n"), Some(Kernel(6, 12)));
        assert_eq!(Kernel::parse("5.10.0-46-amd64"), Some(Kernel(5, 10)));
        assert_eq!(Kernel::parse("x"), None);
        assert!(Kernel(6, 1) < Kernel(6, 12));
    }

    #[test]
    fn a_function_is_known_by_its_whole_name() {
        let symbols = "0 t nf_ct_bump\t[nf_conntrack]\n0 T nf_ct_kill\n";
        assert!(names_one_of(symbols, &["x", "nf_ct_bump"]));
        assert!(!names_one_of(symbols, &["nf_ct"]));
    }
}
