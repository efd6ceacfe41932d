//! The running kernel's series: what a scenario expects may depend on it.

use std::fmt;
use std::fs;

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
}
