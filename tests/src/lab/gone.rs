//! A pod that was deleted while somebody still sends to its address.

use anyhow::Result;

use super::node::Node;
use super::spec::Spec;

/// What the node does with packets for a pod that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The pod's route is gone with it: packets follow the default route out
    /// of the node.
    Default,
    /// The node holds the pod's address range and throws away what it has no
    /// pod for (Calico).
    Blackhole,
    /// The same, and the sender is told: ICMP host unreachable.
    Unreachable,
}

/// Puts the route back.
#[derive(Debug)]
pub struct Gone<'a> {
    node: &'a Node,
    spec: Spec,
}

impl<'a> Gone<'a> {
    /// Take the route to a point-to-point pod away.
    pub fn new(node: &'a Node, spec: Spec, route: Route) -> Result<Self> {
        let address = spec.address();
        let gone = Self { node, spec };
        node.namespace().ip(&match route {
            Route::Default => format!("route delete {address}/32\n"),
            Route::Blackhole => format!("route replace blackhole {address}/32\n"),
            Route::Unreachable => format!("route replace unreachable {address}/32\n"),
        })?;
        Ok(gone)
    }
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        let (address, device) = (self.spec.address(), self.spec.node_device(false));
        let _ = self.node.namespace().ip(&format!("route replace {address}/32 dev {device}\n"));
    }
}
