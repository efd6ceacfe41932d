//! Who else is asked for names, by those who want it.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use clap::Args;

use super::places::NodePlaces;
use crate::{
    cluster::{self, ClusterAccess, Wanted},
    identity::SharedFacts,
};

/// Sources of names beside the node's own state; none is asked unless it is given.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Sources {
    /// Also ask the Kubernetes API for names of pods, services and endpoints, read
    /// only: as a pod by its service account, or by this kubeconfig.
    #[arg(
        long,
        help_heading = "Who else is asked for names",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = IN_CLUSTER,
        value_name = "KUBECONFIG"
    )]
    kube_api: Option<PathBuf>,
}

/// Stands for a pod's own access; no file has this name.
const IN_CLUSTER: &str = "";

impl Sources {
    /// Begins to ask; what they say comes in by itself.
    pub(super) fn ask(
        &self,
        places: &NodePlaces,
        ports: &[u16],
        facts: &Arc<SharedFacts>,
    ) -> anyhow::Result<()> {
        if let Some(kubeconfig) = &self.kube_api {
            let access = if kubeconfig.as_os_str() == IN_CLUSTER {
                ClusterAccess::InCluster
            } else {
                ClusterAccess::Kubeconfig(kubeconfig.clone())
            };
            let node = places.name().context("the node's name is not known; see --node-name")?;
            cluster::start(&access, Wanted { node, ports: ports.to_vec() }, Arc::clone(facts))?;
        }
        Ok(())
    }
}
