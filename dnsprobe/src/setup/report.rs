//! The result of a check.

use super::{Finding, NodeFacts, Severity, Unread};

/// What was looked at, what is wrong, and what could not be read.
#[derive(Clone, Debug)]
pub struct Report {
    /// The node.
    pub node: NodeFacts,
    /// Pods whose containers were looked at.
    pub pods: usize,
    /// Containers looked at.
    pub containers: usize,
    /// What is wrong, worst first.
    pub findings: Vec<Finding>,
    /// What could not be read; about that nothing is said.
    pub unread: Vec<Unread>,
}

impl Report {
    /// Whether anything is wrong: notes alone are not.
    #[must_use]
    pub fn has_problems(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity > Severity::Note)
    }
}
