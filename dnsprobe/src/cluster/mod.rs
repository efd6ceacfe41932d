//! What the Kubernetes API server says, for those who want it asked: this node's
//! pods, the services on the ports that are watched, and the pods behind them.
//! Read only, on a thread of its own that nobody waits for.

mod access;
mod client;
mod follow;
mod lines;
mod mirror;
mod object;
#[cfg(test)]
mod tests;
mod watch;

use std::{path::PathBuf, sync::Arc, thread::Builder};

use access::Access;
pub use access::AccessError;

use crate::identity::SharedFacts;

/// How to reach the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterAccess {
    /// As a pod does, by its service account.
    InCluster,
    /// By the current context of a kubeconfig.
    Kubeconfig(PathBuf),
}

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// This node, as the API names it.
    pub node: String,
    /// Ports on which services are of interest.
    pub ports: Vec<u16>,
}

/// Why the API server is not asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no access.
    #[error("the Kubernetes API cannot be asked")]
    Access(#[from] AccessError),
    /// There can be no further thread.
    #[error("the thread that asks the Kubernetes API cannot start")]
    Thread(#[from] std::io::Error),
}

/// Begins to ask the API server; from then on facts come in by themselves, until
/// the program ends.
///
/// # Errors
/// When there is no access. That the server does not answer is no error.
pub fn start(
    access: &ClusterAccess,
    wanted: Wanted,
    facts: Arc<SharedFacts>,
) -> Result<(), ClusterError> {
    let access = match access {
        ClusterAccess::InCluster => Access::in_cluster()?,
        ClusterAccess::Kubeconfig(file) => Access::from_kubeconfig(file)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Builder::new().name("dnsprobe-kube".to_owned()).spawn(move || {
        runtime.block_on(follow::all(&access, &wanted, follow::PATIENCE, &facts));
    })?;
    Ok(())
}
