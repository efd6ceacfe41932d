//! Who answered: the backends behind each server that was asked, as far as the
//! translation was seen on this node.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::Serialize;

use crate::engine::{Transaction, Verdict};

/// Pairs of server and backend kept.
const MAX: usize = 1_000;

/// One backend of a server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Backend {
    /// The address that was asked.
    pub server: SocketAddr,
    /// Where the queries went, behind every translation on this node; `None`
    /// when no device was seen to transmit them.
    pub backend: Option<SocketAddr>,
    /// Queries that were answered.
    pub answered: u64,
    /// Queries that were lost.
    pub lost: u64,
    /// Its part of all queries to this server.
    pub share: f64,
    /// Mean of the answered ones; `None` without one.
    pub mean_latency_seconds: Option<f64>,
}

/// The sums of each.
#[derive(Default)]
pub(super) struct Backends {
    sums: BTreeMap<(SocketAddr, Option<SocketAddr>), Sum>,
    refused: u64,
}

#[derive(Default)]
struct Sum {
    answered: u64,
    lost: u64,
    seconds: f64,
}

impl Backends {
    pub(super) fn answered(&mut self, transaction: &Transaction) {
        let backend = transaction.translated.map(|tuple| tuple.destination);
        if let Some(sum) = self.sum(transaction.query.server, backend) {
            sum.answered += 1;
            sum.seconds += transaction.latency_seconds;
        }
    }

    pub(super) fn lost(&mut self, verdict: &Verdict) {
        let backend = verdict.translated.map(|tuple| tuple.destination);
        if let Some(sum) = self.sum(verdict.query.server, backend) {
            sum.lost += 1;
        }
    }

    fn sum(&mut self, server: SocketAddr, backend: Option<SocketAddr>) -> Option<&mut Sum> {
        let key = (server, backend);
        if self.sums.len() >= MAX && !self.sums.contains_key(&key) {
            self.refused += 1;
            return None;
        }
        Some(self.sums.entry(key).or_default())
    }

    /// Queries of pairs that did not fit.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// By server, the largest share first.
    pub(super) fn finish(self) -> Vec<Backend> {
        let mut asked: BTreeMap<SocketAddr, u64> = BTreeMap::new();
        for ((server, _), sum) in &self.sums {
            *asked.entry(*server).or_default() += sum.answered + sum.lost;
        }
        let mut backends: Vec<Backend> = self
            .sums
            .into_iter()
            .map(|((server, backend), Sum { answered, lost, seconds })| Backend {
                server,
                backend,
                answered,
                lost,
                share: (answered + lost) as f64 / asked.get(&server).map_or(1.0, |all| *all as f64),
                mean_latency_seconds: (answered > 0).then(|| seconds / answered as f64),
            })
            .collect();
        backends.sort_by_key(|row| (row.server, std::cmp::Reverse(row.answered + row.lost)));
        backends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::Tuple,
        output::testing::{clash, transaction},
    };

    #[test]
    fn shares_are_of_the_server_that_was_asked() {
        let mut backends = Backends::default();
        let to = |last: u8| {
            let source = SocketAddr::from(([10, 244, 0, 11], 40_000));
            Some(Tuple { source, destination: SocketAddr::from(([10, 244, 0, last], 53)) })
        };
        for last in [2, 2, 3] {
            backends.answered(&Transaction { translated: to(last), ..transaction() });
        }
        backends.lost(&clash());
        let found = backends.finish();
        let rows: Vec<_> = found
            .iter()
            .map(|row| (row.backend.map(|at| at.to_string()), row.answered, row.lost, row.share))
            .collect();
        assert_eq!(
            rows,
            [
                (Some("10.244.0.2:53".to_owned()), 2, 0, 0.5),
                (None, 0, 1, 0.25),
                (Some("10.244.0.3:53".to_owned()), 1, 0, 0.25),
            ]
        );
        assert!((found[0].mean_latency_seconds.unwrap() - 0.0201).abs() < 1e-9);
        assert_eq!(found[1].mean_latency_seconds, None);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut backends = Backends::default();
        for port in 0..=u16::try_from(MAX).unwrap() {
            let mut verdict = clash();
            verdict.query.server.set_port(port);
            backends.lost(&verdict);
        }
        assert_eq!((backends.refused(), backends.finish().len()), (1, MAX));
    }
}
