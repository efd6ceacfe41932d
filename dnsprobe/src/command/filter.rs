//! Whose queries, for what, to whom: the filters that commands have in common.

use std::net::IpAddr;

use clap::Args;

use crate::{
    dns::{Name, parse_rcode},
    engine::Query,
    identity::Owner,
};

/// Which queries.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct QueryFilter {
    /// Only this pod (its name).
    #[arg(long, value_name = "NAME")]
    pod: Option<String>,
    /// Only pods of this Kubernetes namespace.
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Only names that are this domain or below it.
    #[arg(long, value_name = "DOMAIN")]
    name: Option<Name>,
    /// Only queries to this server address.
    #[arg(long, value_name = "ADDRESS")]
    server: Option<IpAddr>,
}

impl QueryFilter {
    /// Whether anything is filtered.
    pub(super) fn is_set(&self) -> bool {
        self.pod.is_some()
            || self.namespace.is_some()
            || self.name.is_some()
            || self.server.is_some()
    }

    /// Whether a query passes.
    pub(super) fn fits(&self, owner: &Owner, query: &Query) -> bool {
        let name = query.question.as_ref().map(|question| &question.name);
        self.fits_parts(owner, query.server.ip(), name)
    }

    /// The same of what makes up a query.
    pub(super) fn fits_parts(&self, owner: &Owner, server: IpAddr, name: Option<&Name>) -> bool {
        let (namespace, pod) = match owner {
            Owner::Pod { namespace, pod, .. } => (namespace.as_deref(), pod.as_deref()),
            Owner::Container { .. } | Owner::Host { .. } | Owner::Unattributed { .. } => {
                (None, None)
            }
        };
        self.pod.as_deref().is_none_or(|wanted| pod == Some(wanted))
            && self.namespace.as_deref().is_none_or(|wanted| namespace == Some(wanted))
            && self.server.is_none_or(|wanted| server == wanted)
            && self.name.as_ref().is_none_or(|wanted| name.is_some_and(|n| n.is_under(wanted)))
    }
}

/// A response code of the command line.
pub(super) fn parse_rcode_argument(text: &str) -> Result<u8, String> {
    parse_rcode(text).ok_or_else(|| {
        "not a response code; use a name such as NXDOMAIN or a number from 0 to 15".to_owned()
    })
}
