//! `nodelocal-bypassed`: a node-local cache answers on this node, yet pods ask
//! a cluster address directly.
//! evidence: a process on this node answers at a link-local address that is no
//!           pod's; these pods' queries went to an address that led to another
//!           server on this node, or that the cache itself asks
//! not this: pods with a resolver of their own outside the cluster; the cache
//!           and other DNS servers, which ask on behalf of others; the first
//!           server failing now and then (a tenth of a pod's queries counts)

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{
    engine::{Timeline, Transaction},
    findings::{Code, FindingCode, books::Books, bounded::Capped, join::Joined},
    identity::Owner,
};

/// Pairs of a pod and a server it asks.
const MAX_PAIRS: usize = 1_024;
/// Caches on one node, and addresses they ask.
const MAX_CACHES: usize = 64;

#[derive(Debug, Default)]
struct Direct {
    timeline: Timeline,
    translated: bool,
    example: String,
}

/// Who asks whom directly.
#[derive(Debug)]
pub(in crate::findings) struct NodeLocal {
    caches: BTreeSet<(Arc<Owner>, SocketAddr)>,
    upstreams: BTreeSet<(Arc<Owner>, SocketAddr)>,
    direct: Capped<(Arc<Owner>, SocketAddr), Direct>,
}

impl NodeLocal {
    pub(in crate::findings) fn new() -> Self {
        Self { caches: BTreeSet::new(), upstreams: BTreeSet::new(), direct: Capped::new(MAX_PAIRS) }
    }

    /// Takes in the server's end of a transaction.
    pub(in crate::findings) fn served(&mut self, transaction: &Transaction) {
        let address = transaction.query.server;
        if is_link_local(address.ip()) && self.caches.len() < MAX_CACHES {
            self.caches.insert((Arc::clone(&transaction.owner), address));
        }
    }

    /// Takes in what a DNS server asked.
    pub(in crate::findings) fn forwarded(&mut self, transaction: &Transaction) {
        if self.upstreams.len() < MAX_CACHES {
            self.upstreams.insert((Arc::clone(&transaction.owner), transaction.query.server));
        }
    }

    /// Takes in what a client asked.
    pub(in crate::findings) fn asked(&mut self, joined: &Joined<'_>) {
        let client = joined.client;
        let server = client.query.server;
        let by_cache = joined.server.is_some_and(|end| self.is_cache(&end.owner));
        let is_pod = matches!(*client.owner, Owner::Pod { .. });
        if !is_pod || by_cache || is_link_local(server.ip()) || server.ip().is_loopback() {
            return;
        }
        let Some(direct) = self.direct.entry((Arc::clone(&client.owner), server)) else { return };
        direct.timeline.add(joined.at().unix_ns());
        direct.translated |= joined.server.is_some() || joined.backend().is_some();
        if direct.example.is_empty() {
            direct.example = joined.describe();
        }
    }

    fn is_cache(&self, owner: &Arc<Owner>) -> bool {
        self.caches.iter().any(|(cache, _)| cache == owner)
    }

    /// Notes the pods that pass a cache by.
    pub(in crate::findings) fn close(&self, books: &mut Books) {
        let Some((cache, address)) = self.caches.first() else { return };
        for ((owner, server), direct) in self.direct.iter() {
            let cache_asks =
                self.upstreams.iter().any(|(asker, asked)| self.is_cache(asker) && asked == server);
            if self.is_cache(owner) || !(direct.translated || cache_asks) {
                continue;
            }
            let code = Code::Finding(FindingCode::NodelocalBypassed);
            let example =
                || format!("{}; {cache} answers on this node at {address}", direct.example);
            if books.add_all(code, "", owner, &direct.timeline, example) {
                books.item(code, "", owner, format!("asked: {server}"), direct.timeline.total());
            }
        }
    }

    pub(in crate::findings) fn refused(&self) -> u64 {
        self.direct.refused
    }
}

/// Whether an address is only valid on its link, as those of node-local caches.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
