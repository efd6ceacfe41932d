//! Everything known of addresses at one moment, and what it proves of one.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use super::{Holder, Remote, RemoteAddress, RemoteKind, RemoteSource};

/// An address on a device in the node's own network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddress {
    /// The address.
    pub address: IpAddr,
    /// The device's index.
    pub device: u32,
    /// Whether the device exists only in software, to hold addresses (`dummy`).
    pub dummy: bool,
}

/// A service's address and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFact {
    /// Its address and port.
    pub address: SocketAddr,
    /// Namespace and name; `None` where the source has no names.
    pub name: Option<(String, String)>,
    /// Who says so.
    pub source: RemoteSource,
}

/// What is known of addresses.
#[derive(Debug, Default)]
pub struct RemoteFacts {
    /// The node's own network namespace; without it nothing of the node's is
    /// known.
    host: Option<u32>,
    local: HashMap<IpAddr, RemoteKind>,
    services: HashMap<SocketAddr, Remote>,
    upstreams: Vec<IpAddr>,
    holders: Vec<Holder>,
    by_address: HashMap<IpAddr, Vec<usize>>,
    by_namespace: HashMap<u32, usize>,
}

/// What an address turned out to be.
#[derive(Debug, PartialEq)]
pub(in crate::identity) enum Found<'a> {
    /// This.
    Known(Remote),
    /// Whoever has this network namespace, while it is there.
    HeldBy(&'a Holder),
}

impl RemoteFacts {
    /// Puts together what was read. `host`: the node's own network namespace, if
    /// that is where local addresses and services were read.
    #[must_use]
    pub fn new(
        host: Option<u32>,
        local: &[LocalAddress],
        services: Vec<ServiceFact>,
        upstreams: Vec<IpAddr>,
        holders: Vec<Holder>,
    ) -> Self {
        let mut facts = Self { host, upstreams, ..Self::default() };
        facts.add_local(local);
        for service in services {
            facts.add_service(service);
        }
        for (index, holder) in holders.iter().enumerate() {
            facts.by_namespace.insert(holder.netns, index);
            for address in &holder.addresses {
                facts.by_address.entry(*address).or_default().push(index);
            }
        }
        facts.holders = holders;
        facts
    }

    /// A node-local cache has a link-local address on a device that is there for
    /// nothing else; its other addresses on that device are the cache's too.
    fn add_local(&mut self, local: &[LocalAddress]) {
        let link_local = |address| matches!(address, IpAddr::V4(v4) if v4.is_link_local());
        let caches: Vec<u32> = local
            .iter()
            .filter(|on| on.dummy && link_local(on.address))
            .map(|on| on.device)
            .collect();
        for on in local {
            let cache = caches.contains(&on.device);
            let kind = if cache { RemoteKind::NodeLocalCache } else { RemoteKind::Node };
            let known = self.local.entry(on.address).or_insert(kind);
            if cache {
                *known = kind;
            }
        }
    }

    /// What sources disagree about has no name.
    fn add_service(&mut self, service: ServiceFact) {
        let (namespace, name) = service.name.unzip();
        let kind = RemoteKind::Service;
        let new = Remote { kind, namespace, name, source: service.source };
        let known = self.services.entry(service.address).or_insert_with(|| new.clone());
        if known.name.is_none() {
            *known = new;
        } else if new.name.is_some()
            && (&known.namespace, &known.name) != (&new.namespace, &new.name)
        {
            (known.namespace, known.name) = (None, None);
        }
    }

    /// What is known of an address.
    pub(in crate::identity) fn find(&self, asked: &RemoteAddress) -> Option<Found<'_>> {
        let ip = asked.address.ip();
        let own = self.by_namespace.get(&asked.netns).and_then(|index| self.holders.get(*index));
        let from_host = self.host.is_some_and(|host| host == asked.netns);
        let known = |kind, source| Some(Found::Known(Remote::nameless(kind, source)));
        if ip.is_loopback() {
            return match own {
                Some(holder) => Some(Found::HeldBy(holder)),
                None if from_host => known(RemoteKind::Node, RemoteSource::NetworkNamespace),
                None => None,
            };
        }
        // An address of its own goes before the same address elsewhere.
        if let Some(holder) = own.filter(|holder| holder.addresses.contains(&ip)) {
            return Some(Found::HeldBy(holder));
        }
        let local = self.local.get(&ip).copied();
        if local == Some(RemoteKind::NodeLocalCache) {
            return known(RemoteKind::NodeLocalCache, RemoteSource::LocalDevice);
        }
        if let Some(service) = self.services.get(&asked.address) {
            return Some(Found::Known(service.clone()));
        }
        if let Some(kind) = local {
            return known(kind, RemoteSource::LocalDevice);
        }
        match self.by_address.get(&ip).map(Vec::as_slice) {
            Some([index]) => return self.holders.get(*index).map(Found::HeldBy),
            // Several have it, each for itself.
            Some(_) => return None,
            None => {}
        }
        let upstream = self.upstreams.contains(&ip);
        upstream
            .then(|| Found::Known(Remote::nameless(RemoteKind::Upstream, RemoteSource::ResolvConf)))
    }
}
