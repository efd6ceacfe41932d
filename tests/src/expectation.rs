//! What a scenario expects of dnsprobe, pod by pod, taken from the clients'
//! own counts; and the comparison, which finds everything that is missing, too
//! much, in the wrong place, or does not add up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Result, ensure};

use crate::client::{Latency, Report, Unanswered};
use crate::observed::{Counts, Observed, Row, Verdict};
use crate::result::Check;

mod losses;

pub use losses::{Losses, PodLosses};

/// All pods whose queries dnsprobe should have seen.
#[derive(Debug, Default)]
pub struct Expectation {
    clients: BTreeMap<String, Client>,
    unread_over_tcp: u64,
}

/// One pod (or host process) that asked.
#[derive(Debug, Default)]
struct Client {
    queries: u64,
    answered: u64,
    lost: BTreeMap<String, u64>,
    near_misses: BTreeMap<String, u64>,
    rcodes: BTreeMap<String, u64>,
    not_followed: u64,
    latency: Option<Latency>,
    /// The lost queries by what is on the wire, where the client knows them.
    unanswered: Vec<(String, Unanswered)>,
}

/// Most that p50 and p99 may differ from the client's own, relatively.
const LATENCY_TOLERANCE: f64 = 0.05;

impl Expectation {
    /// `label` asked and got every answer.
    pub fn healthy(&mut self, label: &str, report: &Report) -> Result<()> {
        ensure!(
            report.lost() == 0 && report.alien == 0,
            "the lab is broken: healthy {label} lost {} of {}",
            report.lost(),
            report.sent
        );
        ensure!(report.sent > 0, "the lab is broken: healthy {label} asked nothing");
        self.count(label, report);
        Ok(())
    }

    /// The same, and dnsprobe must have measured what the client measured.
    pub fn healthy_with_latency(&mut self, label: &str, report: &Report) -> Result<()> {
        self.healthy(label, report)?;
        ensure!(report.rtt.is_some(), "{label} measured nothing");
        self.clients.entry(label.into()).or_default().latency = report.rtt;
        Ok(())
    }

    /// What `label` lost, it lost for `cause`; and it lost something.
    pub fn loses(&mut self, label: &str, report: &Report, cause: &str) -> Result<()> {
        ensure!(
            report.lost() > 0,
            "the fault did not happen: {label} got all {} answers",
            report.answered
        );
        self.count(label, report);
        let client = self.clients.entry(label.into()).or_default();
        *client.lost.entry(cause.into()).or_default() += report.lost();
        client
            .unanswered
            .extend(report.unanswered.iter().map(|query| (cause.to_owned(), query.clone())));
        Ok(())
    }

    /// What `label` lost, it lost for the cause that `cause` gives each query.
    pub fn loses_each(
        &mut self,
        label: &str,
        report: &Report,
        cause: impl Fn(&Unanswered) -> &'static str,
    ) -> Result<()> {
        ensure!(report.lost() > 0, "the fault did not happen: {label} got all answers");
        ensure!(
            report.lost() == report.unanswered.len() as u64,
            "{label} does not know which queries it lost"
        );
        self.count(label, report);
        let client = self.clients.entry(label.into()).or_default();
        for query in &report.unanswered {
            *client.lost.entry(cause(query).into()).or_default() += 1;
            client.unanswered.push((cause(query).to_owned(), query.clone()));
        }
        Ok(())
    }

    /// What `label` got no answer to, it did not want any more: it had closed
    /// its socket with the answer of another server.
    pub fn abandons(&mut self, label: &str, report: &Report) -> Result<()> {
        ensure!(report.lost() > 0, "{label} waited for all {} answers", report.answered);
        self.count(label, report);
        self.clients.entry(label.into()).or_default().not_followed += report.lost();
        Ok(())
    }

    /// So many messages over TCP were split within their headers.
    pub fn unread_over_tcp(&mut self, messages: u64) {
        self.unread_over_tcp += messages;
    }

    /// `count` queries of `label` were near misses.
    pub fn near_misses(&mut self, label: &str, cause: &str, count: u64) {
        if count > 0 {
            let client = self.clients.entry(label.into()).or_default();
            *client.near_misses.entry(cause.into()).or_default() += count;
        }
    }

    /// All queries sent.
    #[must_use]
    pub fn queries(&self) -> u64 {
        self.clients.values().map(|client| client.queries).sum()
    }

    fn count(&mut self, label: &str, report: &Report) {
        let client = self.clients.entry(label.into()).or_default();
        client.queries += report.sent;
        client.answered += report.answered;
        for (code, count) in &report.rcodes {
            *client.rcodes.entry(code.clone()).or_default() += count;
        }
    }

    /// Everything that was compared, pod by pod and then as a whole.
    #[must_use]
    pub fn checks(&self, observed: &Observed) -> Vec<Check> {
        let mut checks = Vec::new();
        for (label, client) in &self.clients {
            let mut problems = Vec::new();
            match observed.last.pods.iter().find(|row| is_client(row, label)) {
                Some(row) => client.compare(label, &row.total, &mut problems),
                None => problems
                    .push(format!("{label}: not seen at all, expected {} queries", client.queries)),
            }
            tell(&mut checks, problems, || client.describe(label));
        }
        let mut problems = Vec::new();
        self.nobody_else(observed, &mut problems);
        tell(&mut checks, problems, || "nobody else asked, nothing in flight at rest".to_owned());

        let mut problems = Vec::new();
        let snapshots = observed.earlier.iter().chain([&observed.last]);
        for row in snapshots.flat_map(|snapshot| &snapshot.pods) {
            conservation(row, &mut problems);
        }
        tell(&mut checks, problems, || "the counts add up in every snapshot".to_owned());

        let mut problems = Vec::new();
        self.compare_verdicts(&observed.verdicts, &mut problems);
        self.compare_lost_queries(&observed.verdicts, &mut problems);
        tell(&mut checks, problems, || {
            format!("{} verdicts, one about each lost query", observed.verdicts.len())
        });

        let mut problems = Vec::new();
        overflows(observed, &mut problems);
        let unread = observed.last.completeness.tcp_unread;
        if unread != self.unread_over_tcp {
            let expected = self.unread_over_tcp;
            problems.push(format!("completeness: tcp_unread is {unread}, not {expected}"));
        }
        tell(&mut checks, problems, || "nothing was dropped on the way".to_owned());
        checks
    }

    /// Everything in which `observed` differs from what was expected.
    #[must_use]
    pub fn problems(&self, observed: &Observed) -> Vec<String> {
        let wrong = self.checks(observed).into_iter().filter(|check| !check.right);
        wrong.map(|check| check.what).collect()
    }

    /// No queries of pods that did not ask, and none still on their way.
    fn nobody_else(&self, observed: &Observed, problems: &mut Vec<String>) {
        for row in &observed.last.pods {
            let expected = self.clients.contains_key(&row.owner.label);
            if row.role == "client" && !expected && row.total.queries > 0 {
                problems.push(format!(
                    "{}: {} queries nobody there sent",
                    row.owner.label, row.total.queries
                ));
            }
            if row.total.in_flight != 0 {
                let (label, waiting) = (&row.owner.label, row.total.in_flight);
                problems.push(format!("{label} ({}): {waiting} still in flight at rest", row.role));
            }
        }
    }

    /// Verdict objects: as many per owner and cause as counted, no others.
    fn compare_verdicts(&self, verdicts: &[Verdict], problems: &mut Vec<String>) {
        let mut difference: BTreeMap<(&str, &str, bool), i64> = BTreeMap::new();
        for verdict in verdicts {
            let key = (verdict.owner.label.as_str(), verdict.cause.as_str(), verdict.loss);
            *difference.entry(key).or_default() += 1;
        }
        for (label, client) in &self.clients {
            for (causes, loss) in [(&client.lost, true), (&client.near_misses, false)] {
                for (cause, count) in causes {
                    *difference.entry((label, cause, loss)).or_default() -= count.cast_signed();
                }
            }
        }
        for ((label, cause, loss), difference) in difference {
            let what = if loss { "loss verdicts" } else { "near-miss verdicts" };
            match difference {
                0 => {}
                1.. => problems.push(format!("{label}: {difference} {what} `{cause}` too many")),
                _ => problems.push(format!("{label}: {} {what} `{cause}` missing", -difference)),
            }
        }
    }

    /// Every lost query has a verdict about exactly that query.
    fn compare_lost_queries(&self, verdicts: &[Verdict], problems: &mut Vec<String>) {
        let judged: BTreeSet<_> = verdicts
            .iter()
            .filter(|verdict| verdict.loss)
            .map(|verdict| {
                let query = &verdict.query;
                (verdict.cause.as_str(), query.client, query.server, query.id)
            })
            .collect();
        for (label, client) in &self.clients {
            for (cause, query) in &client.unanswered {
                let told =
                    |client| judged.contains(&(cause.as_str(), client, query.server, query.id));
                // A query that was never made into a packet has no address yet.
                let no_packet = query.send_error.is_some() && told(unspecified(query.client));
                if !told(query.client) && !no_packet {
                    problems.push(format!(
                        "{label}: no `{cause}` for the lost query {:?} {} {} -> {}",
                        query.kind, query.id, query.client, query.server
                    ));
                }
            }
        }
    }
}

impl Client {
    /// What was expected, and seen.
    fn describe(&self, label: &str) -> String {
        let mut text = format!("{label}: {} queries, {} answered", self.queries, self.answered);
        for (cause, count) in &self.lost {
            text += &format!(", {count} lost `{cause}`");
        }
        for (cause, count) in &self.near_misses {
            text += &format!(", {count} near misses `{cause}`");
        }
        text
    }

    fn compare(&self, label: &str, counts: &Counts, problems: &mut Vec<String>) {
        let mut differ = |what: &str,
                          seen: &dyn std::fmt::Debug,
                          expected: &dyn std::fmt::Debug| {
            let (seen, expected) = (format!("{seen:?}"), format!("{expected:?}"));
            if seen != expected {
                problems.push(format!("{label}: {what} is {seen}, the client counted {expected}"));
            }
        };
        differ("queries", &counts.queries, &self.queries);
        differ("answered", &counts.answered, &self.answered);
        differ("lost", &without_zeros(&counts.lost), &self.lost);
        differ("lost_total", &counts.lost_total, &self.lost.values().sum::<u64>());
        differ("near_misses", &without_zeros(&counts.near_misses), &self.near_misses);
        differ("not_followed", &counts.not_followed, &self.not_followed);
        // Real resolvers do not tell the response codes.
        if self.rcodes.values().sum::<u64>() == self.answered {
            differ("rcodes", &without_zeros(&counts.rcodes), &self.rcodes);
        }
        if let Some(own) = self.latency {
            let seen = counts.latency_seconds.unwrap_or_default();
            differ("latency count", &seen.count, &own.count);
            for (name, seen, own) in [("p50", seen.p50, own.p50), ("p99", seen.p99, own.p99)] {
                if (seen - own).abs() > own * LATENCY_TOLERANCE {
                    problems.push(format!(
                        "{label}: {name} is {:.3} ms, the client measured {:.3} ms",
                        seen * 1e3,
                        own * 1e3
                    ));
                }
            }
        }
    }
}

/// The problems, or that there is none.
fn tell(checks: &mut Vec<Check>, problems: Vec<String>, right: impl FnOnce() -> String) {
    if problems.is_empty() {
        checks.push(Check::right(right()));
    }
    checks.extend(problems.into_iter().map(Check::wrong));
}

/// The address of a socket that is bound to none.
fn unspecified(client: SocketAddr) -> SocketAddr {
    let any = match client {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(any, client.port())
}

fn is_client(row: &Row, label: &str) -> bool {
    row.role == "client" && row.owner.label == label
}

fn without_zeros(counts: &BTreeMap<String, u64>) -> BTreeMap<&str, u64> {
    counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| (name.as_str(), *count))
        .collect()
}

/// Queries = answered + lost + in flight + not followed, in every row.
fn conservation(row: &Row, problems: &mut Vec<String>) {
    let counts = &row.total;
    let by_cause: u64 = counts.lost.values().sum();
    let sum = counts.answered + counts.lost_total + counts.not_followed;
    if counts.queries.checked_signed_diff(sum) != Some(counts.in_flight)
        || counts.in_flight < 0
        || by_cause != counts.lost_total
    {
        problems.push(format!(
            "{} ({}): {} queries, but {} answered + {} lost (by cause {}) + {} in flight + {} not followed",
            row.owner.label,
            row.role,
            counts.queries,
            counts.answered,
            counts.lost_total,
            by_cause,
            counts.in_flight,
            counts.not_followed
        ));
    }
}

/// Nothing was dropped on the way to us.
fn overflows(observed: &Observed, problems: &mut Vec<String>) {
    let completeness = &observed.last.completeness;
    for (what, count) in [
        ("lost_events", completeness.lost_events),
        ("in_flight_full", completeness.in_flight_full),
        ("stats_full", completeness.stats_full),
        ("unattributed_queries", completeness.unattributed_queries),
    ] {
        if count > 0 {
            problems.push(format!("completeness: {what} is {count}"));
        }
    }
}

#[cfg(test)]
mod tests;
