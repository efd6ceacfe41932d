//! Which checkout a measurement is of.

use std::fmt;
use std::process::Command;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::shell;
use crate::workspace::Workspace;

/// The checkout that was run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) commit: String,
    /// Of the commit, so that a repeated run writes the same page.
    pub(crate) date: String,
    /// Whether files differed from the commit.
    pub(crate) modified: bool,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let modified = if self.modified { ", with uncommitted changes" } else { "" };
        write!(f, "{} of {}{modified}", self.commit, self.date)
    }
}

impl Source {
    /// The one we are in. `pages` are those that the measurement itself writes:
    /// they do not count as changes.
    pub(crate) fn of(workspace: &Workspace, pages: &str) -> Result<Self> {
        let git = |args: &[&str]| {
            shell::output(Command::new("git").args(args).current_dir(workspace.root()))
                .map(|text| text.trim().to_owned())
        };
        let changes = git(&["status", "--porcelain", "--", ".", &format!(":!{pages}")])?;
        Ok(Self {
            commit: git(&["log", "-1", "--format=%h"])?,
            date: git(&["log", "-1", "--format=%cs"])?,
            modified: !changes.is_empty(),
        })
    }
}
