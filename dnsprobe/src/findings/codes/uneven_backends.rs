//! `uneven-backends`: the flows to a service are spread unevenly.
//! evidence: flows (client address and port) by backend, in the time in which
//!           every backend was in use; the largest share is at least half as
//!           much again as the fair one, and would be so by chance once in a
//!           million times at most
//! not this: one socket with many queries, which is one flow; backends that
//!           came or went; a random balance

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    sync::Arc,
};

use crate::{
    engine::{Timeline, at_least_by_chance},
    findings::{Code, FindingCode, books::Books, bounded::Capped, join::Joined},
    identity::Owner,
};

/// Services watched.
const MAX_SERVICES: usize = 64;
/// Backends of one service.
const MAX_BACKENDS: usize = 64;
/// Clients of one service.
const MAX_CLIENTS: usize = 256;
/// Flows remembered, to count each once.
const MAX_FLOWS: usize = 65_536;
/// Flows that tell anything.
const FEWEST_FLOWS: u64 = 50;
/// How much larger than the fair share the largest is.
const UNFAIR: f64 = 1.5;
/// How likely it may be by chance.
const CHANCE: f64 = 1e-6;

#[derive(Debug, Default)]
struct Backend {
    flows: Timeline,
    queries: u64,
}

#[derive(Debug, Default)]
struct Service {
    backends: BTreeMap<SocketAddr, Backend>,
    clients: BTreeMap<Arc<Owner>, Timeline>,
}

/// Flows by service and backend.
#[derive(Debug)]
pub(in crate::findings) struct Balance {
    services: Capped<SocketAddr, Service>,
    flows: HashSet<u64>,
    refused: u64,
}

impl Balance {
    pub(in crate::findings) fn new() -> Self {
        Self { services: Capped::new(MAX_SERVICES), flows: HashSet::new(), refused: 0 }
    }

    /// Takes in a client's transaction.
    pub(in crate::findings) fn add(&mut self, joined: &Joined<'_>) {
        let Some(backend) = joined.backend() else { return };
        let (owner, query) = (&joined.client.owner, &joined.client.query);
        let Some(service) = self.services.entry(query.server) else { return };
        let room = service.backends.len() < MAX_BACKENDS || service.backends.contains_key(&backend);
        let known = service.clients.len() < MAX_CLIENTS || service.clients.contains_key(owner);
        if !(room && known) {
            self.refused += 1;
            return;
        }
        let at_ns = joined.at().unix_ns();
        let counts = service.backends.entry(backend).or_default();
        counts.queries += 1;
        service.clients.entry(Arc::clone(owner)).or_default().add(at_ns);
        let mut hasher = DefaultHasher::new();
        (query.client, query.server, backend).hash(&mut hasher);
        if self.flows.len() >= MAX_FLOWS {
            self.refused += 1;
        } else if self.flows.insert(hasher.finish()) {
            counts.flows.add(at_ns);
        }
    }

    /// Notes the services whose balance is off.
    pub(in crate::findings) fn close(&self, books: &mut Books) {
        for (address, service) in self.services.iter() {
            let Some(proof) = service.imbalance() else { continue };
            let code = Code::Finding(FindingCode::UnevenBackends);
            let subject = address.to_string();
            let mut first = None;
            for (owner, timeline) in &service.clients {
                if books.add_all(code, &subject, owner, timeline, || proof.clone()) {
                    first = first.or(Some(owner));
                }
            }
            // The shares are the service's, whoever asked.
            let Some(owner) = first else { continue };
            for (backend, counts) in &service.backends {
                let item = format!("backend {backend}");
                books.item(code, &subject, owner, item, counts.queries);
            }
        }
    }

    pub(in crate::findings) fn refused(&self) -> u64 {
        self.refused + self.services.refused
    }
}

impl Service {
    /// What is uneven, if anything.
    fn imbalance(&self) -> Option<String> {
        let spans: Vec<(u64, u64)> =
            self.backends.values().filter_map(|backend| backend.flows.span_ns()).collect();
        let from_ns = spans.iter().map(|(first, _)| *first).max()?;
        let to_ns = spans.iter().map(|(_, last)| *last).min()?;
        let flows: Vec<(SocketAddr, u64)> = self
            .backends
            .iter()
            .map(|(address, backend)| (*address, backend.flows.total_between(from_ns, to_ns)))
            .collect();
        let total: u64 = flows.iter().map(|(_, count)| count).sum();
        let (address, most) = *flows.iter().max_by_key(|(_, count)| *count)?;
        if total < FEWEST_FLOWS || flows.len() < 2 {
            return None;
        }
        let fair = 1.0 / flows.len() as f64;
        let share = most as f64 / total as f64;
        // Any of the backends could have been the largest.
        let chance = at_least_by_chance(most, total, fair) * flows.len() as f64;
        (share >= UNFAIR * fair && chance <= CHANCE).then(|| {
            format!(
                "{most} of {total} flows ({:.0} %) went to {address}, one of {} backends",
                share * 100.0,
                flows.len()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(flows: &[u64]) -> Service {
        let mut service = Service::default();
        for (index, &count) in (2..).zip(flows) {
            let backend =
                service.backends.entry(SocketAddr::from(([10, 244, 0, index], 53))).or_default();
            for flow in 0..count {
                backend.flows.add(10_000_000_000 + flow * 20_000_000_000 / count.max(1));
            }
        }
        service
    }

    #[test]
    fn a_large_share_of_many_flows_is_uneven() {
        let proof = service(&[180, 20]).imbalance().unwrap();
        assert!(proof.contains("10.244.0.2:53, one of 2 backends"), "{proof}");
    }

    #[test]
    fn a_random_balance_is_not() {
        assert_eq!(service(&[130, 100]).imbalance(), None);
        assert_eq!(service(&[18, 4]).imbalance(), None);
        assert_eq!(service(&[500]).imbalance(), None);
        assert_eq!(service(&[40, 30, 30]).imbalance(), None);
    }

    #[test]
    fn a_backend_that_came_late_is_no_imbalance() {
        let mut service = service(&[200]);
        let late = service.backends.entry(SocketAddr::from(([10, 244, 0, 9], 53))).or_default();
        for flow in 0..20 {
            late.flows.add(28_000_000_000 + flow * 100_000_000);
        }
        assert_eq!(service.imbalance(), None);
    }
}
