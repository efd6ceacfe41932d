//! Each lost query against the verdict about it: right, of another cause, of
//! another pod, missing; and verdicts about queries nobody lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;

use super::Expectation;
use crate::observed::{Observed, Verdict};

/// The lost queries of a scenario, counted by what dnsprobe made of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Losses {
    /// Lost by the clients' own count.
    pub lost: u64,
    /// Lost by dnsprobe's count.
    pub counted: u64,
    /// Of the clients' lost queries: verdict with the right cause and pod.
    pub right: u64,
    /// Verdict with another cause than the one that was brought about.
    pub wrong_cause: u64,
    /// No cause, where there was one.
    pub unexplained: u64,
    /// Verdict on another pod.
    pub wrong_pod: u64,
    /// No verdict at all.
    pub missing: u64,
    /// Verdicts, near misses included, about queries to which nothing happened.
    #[serde(rename = "false")]
    pub false_causes: u64,
    /// Every pod that lost something, by either count.
    pub pods: Vec<PodLosses>,
}

/// Losses of one pod for one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PodLosses {
    /// `namespace/name`.
    pub pod: String,
    /// Code of the cause.
    pub cause: String,
    /// By the client's own count.
    pub lost: u64,
    /// By dnsprobe's count.
    pub counted: u64,
}

const UNEXPLAINED: &str = "unexplained";

/// A query by what is on the wire.
type Wire = (SocketAddr, SocketAddr, u16);

/// A query that a client lost.
struct Lost<'a> {
    pod: &'a str,
    cause: &'a str,
    /// Where the client knows.
    wire: Option<Wire>,
}

impl Expectation {
    /// Compare every lost query with the verdicts.
    #[must_use]
    pub fn losses(&self, observed: &Observed) -> Losses {
        let mut lost = self.lost_queries();
        let mut verdicts: Vec<&Verdict> =
            observed.verdicts.iter().filter(|verdict| verdict.loss).collect();
        let mut losses = Losses {
            lost: lost.len() as u64,
            counted: counted(observed).values().sum(),
            pods: self.by_pod(observed),
            ..Losses::default()
        };
        // The best match first, so that a verdict about another query of the
        // pod is not taken for one about this query.
        let same_query = |lost: &Lost<'_>, verdict: &Verdict| {
            lost.wire.is_some_and(|known| is_same(known, wire(verdict)))
        };
        let any_query = |lost: &Lost<'_>| lost.wire.is_none();
        let same_pod = |lost: &Lost<'_>, verdict: &Verdict| lost.pod == verdict.owner.label;
        let same_cause = |lost: &Lost<'_>, verdict: &Verdict| lost.cause == verdict.cause;
        losses.right = pair(&mut lost, &mut verdicts, |lost, verdict| {
            same_query(lost, verdict) && same_pod(lost, verdict) && same_cause(lost, verdict)
        });
        losses.right += pair(&mut lost, &mut verdicts, |lost, verdict| {
            any_query(lost) && same_pod(lost, verdict) && same_cause(lost, verdict)
        });
        losses.unexplained = pair(&mut lost, &mut verdicts, |lost, verdict| {
            (same_query(lost, verdict) || any_query(lost))
                && same_pod(lost, verdict)
                && verdict.cause == UNEXPLAINED
        });
        losses.wrong_cause = pair(&mut lost, &mut verdicts, |lost, verdict| {
            (same_query(lost, verdict) || any_query(lost)) && same_pod(lost, verdict)
        });
        losses.wrong_pod = pair(&mut lost, &mut verdicts, |lost, verdict| {
            same_query(lost, verdict) || (any_query(lost) && same_cause(lost, verdict))
        });
        losses.missing = lost.len() as u64;
        losses.false_causes = verdicts.len() as u64 + self.false_near_misses(observed);
        losses
    }

    fn lost_queries(&self) -> Vec<Lost<'_>> {
        let mut all = Vec::new();
        for (pod, client) in &self.clients {
            for (cause, count) in &client.lost {
                let known = client.unanswered.iter().filter(|(of, _)| of == cause);
                let known: Vec<_> =
                    known.map(|(_, query)| Some((query.client, query.server, query.id))).collect();
                let unknown = usize::try_from(*count).unwrap_or(0).saturating_sub(known.len());
                let wires = known.into_iter().chain(std::iter::repeat_n(None, unknown));
                all.extend(wires.map(|wire| Lost { pod, cause, wire }));
            }
        }
        all
    }

    fn false_near_misses(&self, observed: &Observed) -> u64 {
        let mut seen: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for verdict in observed.verdicts.iter().filter(|verdict| !verdict.loss) {
            *seen.entry((&verdict.owner.label, &verdict.cause)).or_default() += 1;
        }
        let expected = |pod: &str, cause: &str| {
            self.clients.get(pod).and_then(|client| client.near_misses.get(cause)).copied()
        };
        seen.into_iter()
            .map(|((pod, cause), seen)| seen.saturating_sub(expected(pod, cause).unwrap_or(0)))
            .sum()
    }

    fn by_pod(&self, observed: &Observed) -> Vec<PodLosses> {
        let mut both: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
        for (pod, client) in &self.clients {
            for (cause, lost) in &client.lost {
                both.entry((pod.clone(), cause.clone())).or_default().0 += lost;
            }
        }
        for ((pod, cause), counted) in counted(observed) {
            both.entry((pod.to_owned(), cause.to_owned())).or_default().1 += counted;
        }
        both.into_iter()
            .map(|((pod, cause), (lost, counted))| PodLosses { pod, cause, lost, counted })
            .collect()
    }
}

/// dnsprobe's own count of lost queries, by pod and cause.
fn counted(observed: &Observed) -> BTreeMap<(&str, &str), u64> {
    let mut counted = BTreeMap::new();
    for row in observed.last.pods.iter().filter(|row| row.role == "client") {
        for (cause, count) in row.total.lost.iter().filter(|(_, count)| **count > 0) {
            *counted.entry((row.owner.label.as_str(), cause.as_str())).or_default() += count;
        }
    }
    counted
}

fn wire(verdict: &Verdict) -> Wire {
    (verdict.query.client, verdict.query.server, verdict.query.id)
}

/// Whether a verdict is about a query. Where sending failed before routing had
/// chosen an address, the verdict has none; the port is known.
fn is_same(query: Wire, judged: Wire) -> bool {
    let (from, server, id) = judged;
    let port = query.0.port() == from.port();
    let address = query.0.ip() == from.ip() || from.ip().is_unspecified();
    port && address && (query.1, query.2) == (server, id)
}

/// Takes out every lost query and verdict that belong together; how many.
fn pair(
    lost: &mut Vec<Lost<'_>>,
    verdicts: &mut Vec<&Verdict>,
    belong: impl Fn(&Lost<'_>, &Verdict) -> bool,
) -> u64 {
    let before = lost.len();
    lost.retain(|lost| match verdicts.iter().position(|verdict| belong(lost, verdict)) {
        Some(found) => {
            verdicts.swap_remove(found);
            false
        }
        None => true,
    });
    (before - lost.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_without_an_address_is_about_the_query_with_its_port() {
        let wire = |client: &str, id| -> Wire {
            (client.parse().unwrap(), "10.96.0.10:53".parse().unwrap(), id)
        };
        assert!(is_same(wire("10.0.0.1:40000", 7), wire("10.0.0.1:40000", 7)));
        assert!(is_same(wire("10.0.0.1:40000", 7), wire("0.0.0.0:40000", 7)));
        assert!(!is_same(wire("10.0.0.1:40000", 7), wire("0.0.0.0:40001", 7)));
        assert!(!is_same(wire("10.0.0.1:40000", 7), wire("0.0.0.0:40000", 8)));
        assert!(!is_same(wire("10.0.0.1:40000", 7), wire("10.0.0.2:40000", 7)));
    }
}
