//! A sysctl of the node that is put back afterwards.

use anyhow::Result;

use super::node::Node;

/// A changed sysctl; restores the old value when dropped.
#[derive(Debug)]
pub struct Setting<'a> {
    node: &'a Node,
    key: &'static str,
    before: String,
}

impl<'a> Setting<'a> {
    /// Set `key`, such as `net/netfilter/nf_conntrack_max`.
    pub fn set(node: &'a Node, key: &'static str, value: &str) -> Result<Self> {
        let before = node.namespace().read_sysctl(key)?;
        node.namespace().sysctl(&[&format!("{key}={value}")])?;
        Ok(Self { node, key, before })
    }
}

impl Drop for Setting<'_> {
    fn drop(&mut self) {
        let _ = self.node.namespace().sysctl(&[&format!("{}={}", self.key, self.before)]);
    }
}
