//! Where queries to services went, beside what IPVS says of the same backends.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use serde::Serialize;

use crate::identity::Remote;

/// Queries of this node to a service that left for one of its backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendQueries {
    /// The address that was asked.
    pub service: SocketAddr,
    /// The address that they left for.
    pub backend: SocketAddr,
    /// How many, since it is known.
    pub queries: u64,
}

/// A real server of an IPVS service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpvsBackend {
    /// The service's address.
    pub service: SocketAddr,
    /// The real server's.
    pub backend: SocketAddr,
    /// How it stands there.
    pub listing: IpvsListing,
}

/// A service that was asked over UDP, or that IPVS has.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceCounts {
    /// Its address, as asked.
    pub service: SocketAddr,
    /// Its backends.
    pub backends: Vec<BackendCounts>,
}

/// One backend of a service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackendCounts {
    /// Its address.
    pub address: SocketAddr,
    /// Who has it now; `None` when that is not proven.
    pub remote: Option<Arc<Remote>>,
    /// UDP queries of this node that left for it, since dnsprobe knows it.
    pub queries: u64,
    /// How IPVS has it; `None` when it does not.
    pub ipvs: Option<IpvsListing>,
}

/// A real server in the table of IPVS. `None`: the table does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IpvsListing {
    /// 0: it gets no new connections.
    pub weight: Option<i32>,
    /// Connections; none of UDP is ever active.
    pub active_connections: Option<u64>,
    /// All of UDP are inactive.
    pub inactive_connections: Option<u64>,
}

impl ServiceCounts {
    /// Puts both together, in order of addresses.
    #[must_use]
    pub fn join(
        counted: &[BackendQueries],
        ipvs: &[IpvsBackend],
        mut remote: impl FnMut(SocketAddr) -> Option<Arc<Remote>>,
    ) -> Vec<Self> {
        let mut services: BTreeMap<SocketAddr, BTreeMap<SocketAddr, (u64, Option<IpvsListing>)>> =
            BTreeMap::new();
        for counted in counted {
            let backends = services.entry(counted.service).or_default();
            backends.entry(counted.backend).or_default().0 += counted.queries;
        }
        for IpvsBackend { service, backend, listing } in ipvs {
            let backends = services.entry(*service).or_default();
            backends.entry(*backend).or_default().1 = Some(*listing);
        }
        let mut backend = |(address, (queries, ipvs))| {
            let remote = remote(address);
            BackendCounts { address, remote, queries, ipvs }
        };
        services
            .into_iter()
            .map(|(service, backends)| {
                let backends = backends.into_iter().map(&mut backend).collect();
                Self { service, backends }
            })
            .collect()
    }

    /// Queries to all of its backends.
    #[must_use]
    pub fn queries(&self) -> u64 {
        self.backends.iter().map(|backend| backend.queries).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_one_whoever_tells_of_it() {
        let address = |last: u8| SocketAddr::from(([10, 244, 0, last], 53));
        let service = SocketAddr::from(([10, 96, 0, 10], 53));
        let counted = [2, 3].map(|last| BackendQueries {
            service,
            backend: address(last),
            queries: last.into(),
        });
        let ipvs = [(3, 0), (4, 1)].map(|(last, weight)| {
            let listing = IpvsListing { weight: Some(weight), ..IpvsListing::default() };
            IpvsBackend { service, backend: address(last), listing }
        });
        let services = ServiceCounts::join(&counted, &ipvs, |_| None);
        assert_eq!(services.len(), 1);
        assert_eq!(services[0].queries(), 5);
        let told: Vec<_> = services[0]
            .backends
            .iter()
            .map(|it| (it.address, it.queries, it.ipvs.and_then(|ipvs| ipvs.weight)))
            .collect();
        assert_eq!(
            told,
            [(address(2), 2, None), (address(3), 3, Some(0)), (address(4), 0, Some(1))]
        );
    }
}
