//! When queries were lost lately, as a pattern against the load: the same patterns as
//! those of findings (docs/findings.md), from what is known without following every
//! query.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use crate::{
    engine::{Cause, Pattern, Timeline, Verdict},
    stats::{ServiceCounts, Snapshot},
};
use dnsprobe_common::flow::Role;

/// How long it is looked back.
const LATELY: Duration = Duration::from_secs(600);
/// How long IPVS keeps a UDP connection where nobody set it otherwise.
const IPVS_UDP_TIMEOUT: Duration = Duration::from_secs(300);
/// Backends of one cause whose departure is looked up.
const MOST_BACKENDS: usize = 16;

/// Losses by cause, and the load: all client queries of the node.
#[derive(Debug, Default)]
pub struct Patterns {
    load: Timeline,
    lost: BTreeMap<Cause, Losses>,
    /// When IPVS last listed each real server with a weight, Unix nanoseconds.
    listed: BTreeMap<SocketAddr, u64>,
    now_ns: u64,
}

#[derive(Debug, Default)]
struct Losses {
    times: Timeline,
    /// Those that the verdicts name.
    backends: Vec<SocketAddr>,
}

impl Patterns {
    /// Takes in a reading of the counters, and of services at that moment.
    pub fn read(&mut self, snapshot: &Snapshot, services: &[ServiceCounts]) {
        self.now_ns = snapshot.time.unix_ns();
        let clients = snapshot.pods.iter().filter(|row| row.role == Role::Client);
        let queries = clients.map(|row| row.window.queries).sum();
        // They came at some time of the window.
        let half_ns = (snapshot.window_seconds.max(0.0) * 0.5e9) as u64;
        self.load.add_many(self.now_ns.saturating_sub(half_ns), queries);
        for backend in services.iter().flat_map(|service| &service.backends) {
            if backend.ipvs.is_some_and(|ipvs| ipvs.weight != Some(0)) {
                self.listed.insert(backend.address, self.now_ns);
            }
        }
        let before_ns = self.now_ns.saturating_sub(nanos(LATELY));
        self.load.forget(before_ns);
        self.listed.retain(|_, last_ns| *last_ns + nanos(IPVS_UDP_TIMEOUT) >= before_ns);
        self.lost.retain(|_, losses| {
            losses.times.forget(before_ns);
            losses.times.total() > 0
        });
    }

    /// Takes in a verdict.
    pub fn decided(&mut self, verdict: &Verdict) {
        if !verdict.loss {
            return;
        }
        let losses = self.lost.entry(verdict.cause).or_default();
        losses.times.add(verdict.query.sent.unix_ns());
        for backend in verdict.backends() {
            if losses.backends.len() < MOST_BACKENDS && !losses.backends.contains(&backend) {
                losses.backends.push(backend);
            }
        }
    }

    /// The pattern of each cause of which there were losses lately.
    pub(super) fn all(&self) -> impl Iterator<Item = (Cause, Pattern)> {
        self.lost.iter().map(|(cause, losses)| {
            // One that is still listed did not go away.
            let gone = losses.backends.iter().filter_map(|backend| self.listed.get(backend));
            let departures: Vec<u64> = gone.copied().filter(|last| *last < self.now_ns).collect();
            let timeout_ns = nanos(IPVS_UDP_TIMEOUT);
            (*cause, Pattern::of(&losses.times, &self.load, &departures, timeout_ns))
        })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        output::testing::{clash, snapshot},
        stats::{IpvsBackend, IpvsListing},
        time::Timestamp,
    };

    const SECOND: u64 = 1_000_000_000;
    const BACKEND: &str = "10.244.0.3:53";

    /// A reading each five seconds; `queries` of them in each.
    fn reading(second: u64, queries: u64) -> Snapshot {
        let mut snapshot = snapshot();
        snapshot.time = Timestamp::from_unix_ns(second * SECOND);
        snapshot.window_seconds = 5.0;
        snapshot.pods.retain(|row| row.role == Role::Client);
        snapshot.pods.truncate(1);
        snapshot.pods[0].window.queries = queries;
        snapshot
    }

    fn services(weight: i32) -> Vec<ServiceCounts> {
        let listed = IpvsBackend {
            service: "10.96.0.10:53".parse().unwrap(),
            backend: BACKEND.parse().unwrap(),
            listing: IpvsListing { weight: Some(weight), ..IpvsListing::default() },
        };
        ServiceCounts::join(&[], &[listed], |_| None)
    }

    fn loss(cause: Cause, second: u64) -> Verdict {
        let mut verdict = clash();
        (verdict.cause, verdict.loss) = (cause, true);
        verdict.query.sent = Timestamp::from_unix_ns(second * SECOND);
        verdict
    }

    #[test]
    fn each_cause_has_its_own_pattern_and_none_without_losses() {
        let mut patterns = Patterns::default();
        for second in (1_005..1_300).step_by(5) {
            patterns.decided(&loss(Cause::PolicyDrop, second - 2));
            patterns.read(&reading(second, 100), &[]);
        }
        patterns.decided(&loss(Cause::NoRoute, 1_200));
        let all: Vec<_> = patterns.all().collect();
        let expected = [(Cause::PolicyDrop, Pattern::Always), (Cause::NoRoute, Pattern::Sporadic)];
        assert_eq!(all, expected);
        let mut near = loss(Cause::ConntrackClashResolved, 1_200);
        near.loss = false;
        patterns.decided(&near);
        assert_eq!(patterns.all().count(), 2);
    }

    #[test]
    fn what_is_long_ago_is_no_pattern() {
        let mut patterns = Patterns::default();
        patterns.read(&reading(1_000, 10), &[]);
        patterns.decided(&loss(Cause::PolicyDrop, 1_000));
        assert_eq!(patterns.all().count(), 1);
        patterns.read(&reading(2_000, 10), &[]);
        assert_eq!(patterns.all().count(), 0);
    }

    #[test]
    fn losses_after_a_real_server_went_away_are_a_scaling_window() {
        let mut patterns = Patterns::default();
        for second in (1_000..1_060).step_by(5) {
            patterns.read(&reading(second, 10), &services(1));
        }
        for second in (1_060..1_100).step_by(5) {
            let mut verdict = loss(Cause::IpvsStaleBackend, second);
            verdict.evidence[0].detail.insert("backend".to_owned(), json!(BACKEND));
            patterns.decided(&verdict);
            patterns.read(&reading(second + 1, 10), &services(0));
        }
        let all: Vec<_> = patterns.all().collect();
        assert_eq!(all, [(Cause::IpvsStaleBackend, Pattern::ScalingWindow)]);
    }
}
