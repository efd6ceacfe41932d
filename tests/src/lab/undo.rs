//! Changes to a network namespace that are taken back when their guard goes,
//! however the scenario ends.

use anyhow::Result;

use super::shell::Namespace;

/// Takes a change back when dropped.
#[must_use = "the change is taken back when this is dropped"]
#[derive(Debug)]
pub struct Undo {
    namespace: Namespace,
    how: How,
}

#[derive(Debug)]
enum How {
    Run(String),
    Sysctl(String),
}

impl Undo {
    /// Run `line` on this machine when dropped.
    pub fn later(line: impl Into<String>) -> Self {
        Self { namespace: Namespace::Own, how: How::Run(line.into()) }
    }
}

impl Namespace {
    /// Run `line` now and `undo` later.
    pub fn run_until_dropped(&self, line: &str, undo: impl Into<String>) -> Result<Undo> {
        self.run(line)?;
        Ok(Undo { namespace: self.clone(), how: How::Run(undo.into()) })
    }

    /// Set a sysctl, given as `net/ipv4/ip_forward=1`, for a while.
    pub fn sysctl_until_dropped(&self, setting: &str) -> Result<Undo> {
        let key = setting.split('=').next().unwrap_or_default();
        let before = format!("{key}={}", self.read_sysctl(key)?);
        self.sysctl(&[setting])?;
        Ok(Undo { namespace: self.clone(), how: How::Sysctl(before) })
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // The namespace may be gone already, and the change with it.
        let _ = match &self.how {
            How::Run(line) => self.namespace.run(line).map(drop),
            How::Sysctl(setting) => self.namespace.sysctl(&[setting]),
        };
    }
}
