//! The real resolvers: small programs compiled against glibc, musl and Go's
//! own resolver, which look a name up as any application does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::report::Report;

/// A resolver implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// GNU libc: A and AAAA from one socket with one `sendmmsg`.
    Glibc,
    /// musl: every question to every nameserver at once, from one socket.
    Musl,
    /// Go without cgo: A and AAAA from two sockets.
    Go,
}

const GETADDRINFO: &str = include_str!("../../clients/getaddrinfo.c");
const RESOLVE: &str = include_str!("../../clients/resolve.go");

impl Resolver {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Glibc, Self::Musl, Self::Go];

    const fn file_name(self) -> &'static str {
        match self {
            Self::Glibc => "getaddrinfo-glibc",
            Self::Musl => "getaddrinfo-musl",
            Self::Go => "resolve-go",
        }
    }

    /// Where `lab prepare` puts it.
    #[must_use]
    pub fn path(self, clients: &Path) -> PathBuf {
        clients.join(self.file_name())
    }

    /// Queries one look-up sends when every answer comes in time.
    #[must_use]
    pub const fn queries_per_lookup(self, nameservers: u64) -> u64 {
        match self {
            Self::Glibc | Self::Go => 2,
            Self::Musl => 2 * nameservers,
        }
    }

    fn compiler(self, source: &Path, output: &Path) -> Command {
        let mut command = match self {
            Self::Glibc => Command::new("gcc"),
            Self::Musl => Command::new("musl-gcc"),
            Self::Go => Command::new("go"),
        };
        match self {
            Self::Glibc => command.args(["-O2", "-Wall", "-o"]).arg(output).arg(source),
            // Static, as everything in an Alpine-like image of one program is.
            Self::Musl => command.args(["-O2", "-Wall", "-static", "-o"]).arg(output).arg(source),
            Self::Go => command
                .args(["build", "-trimpath", "-o"])
                .arg(output)
                .arg(source)
                .envs([("CGO_ENABLED", "0"), ("GO111MODULE", "off"), ("GOFLAGS", "")])
                .env("GOCACHE", output.with_extension("cache")),
        };
        command
    }
}

/// Compile every resolver client into `clients` unless it is there already
/// from the same source.
pub fn prepare(clients: &Path) -> Result<()> {
    fs::create_dir_all(clients).with_context(|| format!("cannot create {}", clients.display()))?;
    for resolver in Resolver::ALL {
        let (text, extension) = match resolver {
            Resolver::Go => (RESOLVE, "go"),
            Resolver::Glibc | Resolver::Musl => (GETADDRINFO, "c"),
        };
        let output = resolver.path(clients);
        let source = output.with_extension(extension);
        if output.exists() && fs::read_to_string(&source).is_ok_and(|old| old == text) {
            continue;
        }
        fs::write(&source, text)?;
        let mut command = resolver.compiler(&source, &output);
        let status = command.status().with_context(|| {
            format!("cannot run {}: is it installed?", command.get_program().display())
        })?;
        ensure!(status.success(), "compiling {} failed", source.display());
        eprintln!("compiled {}", output.display());
    }
    Ok(())
}

/// What a resolver client prints.
#[derive(Debug, Deserialize)]
pub struct Lookups {
    /// One duration per look-up.
    pub seconds: Vec<f64>,
    /// Look-ups without a result.
    pub failed: u64,
}

impl Lookups {
    /// As a count of queries, when every look-up went through at the first
    /// attempt. A look-up that took longer than `deadline` asked again, and
    /// then the number of queries is not known.
    pub fn into_report(self, queries_per_lookup: u64, deadline: f64) -> Result<Report> {
        ensure!(self.failed == 0, "{} of {} look-ups failed", self.failed, self.seconds.len());
        let slowest = self.seconds.iter().copied().fold(0.0, f64::max);
        ensure!(slowest < deadline, "a look-up took {slowest:.3} s and may have asked twice");
        let queries = self.seconds.len() as u64 * queries_per_lookup;
        Ok(Report { sent: queries, answered: queries, ..Report::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_lookup_is_no_ground_truth() {
        let lookups = || Lookups { seconds: vec![0.02, 2.6], failed: 0 };
        assert!(lookups().into_report(2, 2.5).is_err());
        assert_eq!(lookups().into_report(2, 5.0).unwrap().sent, 4);
    }

    #[test]
    fn a_failed_lookup_is_no_ground_truth() {
        let lookups = Lookups { seconds: vec![0.02], failed: 1 };
        assert!(lookups.into_report(2, 5.0).is_err());
    }
}
