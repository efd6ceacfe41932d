//! Whether a clean run was clean: what the clients asked against what dnsprobe
//! counted, and everything dnsprobe found although there was nothing to find.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::diagnosis::Diagnosis;
use crate::observed::Observed;

/// What one client asked.
#[derive(Debug, Serialize)]
pub(super) struct Asked {
    /// Its pod.
    pub(super) label: String,
    pub(super) asked: u64,
    pub(super) answered: u64,
}

/// The result of a clean run.
#[derive(Debug, Serialize)]
pub(super) struct Cleanliness {
    asked: u64,
    answered: u64,
    /// Queries dnsprobe counted for the clients.
    counted: u64,
    /// Queries dnsprobe counted as answered.
    counted_answered: u64,
    /// Answered queries that dnsprobe says it could not tell apart: the resolver
    /// drew one id for both questions of a look-up.
    same_id: u64,
    /// Queries `diagnose` saw, those of other processes included.
    diagnosed: u64,
    /// Verdicts, near misses included, and findings of `diagnose`: nothing was
    /// wrong.
    findings: u64,
    /// The same about processes that are not of this test.
    about_others: u64,
    clients: Vec<Asked>,
    /// Everything that is not as it must be.
    pub(super) problems: Vec<String>,
}

impl Cleanliness {
    /// Compare the clients' counts with dnsprobe's last word.
    pub(super) fn judge(clients: Vec<Asked>, observed: &Observed, diagnosis: &Diagnosis) -> Self {
        let mut result = Self {
            asked: clients.iter().map(|client| client.asked).sum(),
            answered: clients.iter().map(|client| client.answered).sum(),
            counted: 0,
            counted_answered: 0,
            same_id: 0,
            diagnosed: diagnosis.queries,
            findings: 0,
            about_others: 0,
            clients,
            problems: Vec::new(),
        };
        result.compare_counts(observed);
        result.count_verdicts(observed);
        result.count_findings(diagnosis);
        let completeness = &observed.last.completeness;
        for (what, count) in [
            ("lost_events", completeness.lost_events),
            ("in_flight_full", completeness.in_flight_full),
            ("stats_full", completeness.stats_full),
            ("tcp_unread", completeness.tcp_unread),
        ] {
            if count > 0 {
                result.problems.push(format!("completeness: {what} is {count}"));
            }
        }
        result
    }

    fn compare_counts(&mut self, observed: &Observed) {
        for client in &self.clients {
            let label = &client.label;
            let mut differ = |what: &str, own: u64, seen: u64| {
                if own != seen {
                    self.problems
                        .push(format!("{label}: {what} is {seen}, the client counted {own}"));
                }
            };
            let rows = &observed.last.pods;
            let row = rows.iter().find(|row| row.role == "client" && &row.owner.label == label);
            let seen = row.map(|row| row.total.clone()).unwrap_or_default();
            differ("queries", client.asked, seen.queries);
            differ("answered", client.answered, seen.answered + seen.not_followed);
            differ("lost", 0, seen.lost_total);
            let drawn = pairs_with_one_id(client.asked);
            if seen.not_followed > drawn {
                self.problems.push(format!(
                    "{label}: {} answers were not followed; that two questions of one look-up \
                     draw the same id explains {drawn}",
                    seen.not_followed
                ));
            }
            self.same_id += seen.not_followed;
            if client.answered < client.asked {
                self.problems.push(format!(
                    "{label}: {} queries got no answer: the machine is too slow for this rate, \
                     or something is wrong with it",
                    client.asked - client.answered
                ));
            }
            self.counted += seen.queries;
            self.counted_answered += seen.answered;
        }
    }

    /// A finding that names no pod is one about this test too: nothing is wrong
    /// with the set-up either.
    fn count_findings(&mut self, diagnosis: &Diagnosis) {
        for finding in &diagnosis.findings {
            let mut labels = finding.pods.iter().map(|hit| hit.owner.label.as_str());
            if finding.pods.is_empty() || labels.any(|label| self.is_ours(label)) {
                self.findings += 1;
                self.problems.push(format!("diagnose: `{}`: {}", finding.code, finding.summary));
            } else {
                self.about_others += 1;
            }
        }
        if diagnosis.queries < self.asked {
            let (queries, asked) = (diagnosis.queries, self.asked);
            self.problems.push(format!("diagnose: {queries} queries, the clients asked {asked}"));
        }
    }

    fn is_ours(&self, label: &str) -> bool {
        self.clients.iter().any(|client| client.label == label)
    }

    fn count_verdicts(&mut self, observed: &Observed) {
        let mut found: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for verdict in &observed.verdicts {
            let label = verdict.owner.label.as_str();
            if self.is_ours(label) {
                self.findings += 1;
                *found.entry((label, &verdict.cause)).or_default() += 1;
            } else {
                self.about_others += 1;
            }
        }
        for ((label, cause), count) in found {
            self.problems.push(format!("{label}: {count} verdicts `{cause}` about nothing"));
        }
    }
}

/// How often at most, in so many queries, the questions for A and AAAA of one
/// look-up may have the same id. Resolvers draw both at random, so it happens
/// once in 65,536 look-ups of two queries; four standard deviations and one more
/// than that do not happen by chance.
fn pairs_with_one_id(asked: u64) -> u64 {
    let expected = asked as f64 / 2.0 / 65_536.0;
    (expected + 4.0 * expected.sqrt()) as u64 + 1
}

impl fmt::Display for Cleanliness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "clean: {} queries asked, {} answered by {} clients; dnsprobe counted {} and {}, \
             diagnose saw {}; {} findings",
            self.asked,
            self.answered,
            self.clients.len(),
            self.counted,
            self.counted_answered,
            self.diagnosed,
            self.findings
        )?;
        if self.same_id > 0 {
            write!(f, "; {} answers not followed, their ids being the same", self.same_id)?;
        }
        if self.about_others > 0 {
            write!(f, "; {} about other processes of this machine", self.about_others)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn judge(queries: u64, answered: u64, verdicts: &[Value]) -> Cleanliness {
        judge_with(queries, answered, verdicts, &[])
    }

    fn judge_with(
        queries: u64,
        answered: u64,
        verdicts: &[Value],
        findings: &[Value],
    ) -> Cleanliness {
        judge_snapshot(verdicts, findings, &snapshot(queries, answered))
    }

    fn snapshot(queries: u64, answered: u64) -> Value {
        json!({"schema": "dnsprobe/1", "kind": "snapshot", "pods": [
            {"owner": {"label": "shop/cart"}, "role": "client", "total": {
                "queries": queries, "answered": answered, "lost": {}, "lost_total": 0,
                "near_misses": {}, "in_flight": 0, "not_followed": 0, "rcodes": {},
                "latency_seconds": null}}],
            "completeness": {"complete": true, "missing": [], "lost_events": 0,
                "in_flight_full": 0, "stats_full": 0, "tcp_unread": 0, "unattributed_queries": 0}})
    }

    fn judge_snapshot(verdicts: &[Value], findings: &[Value], snapshot: &Value) -> Cleanliness {
        let clients = vec![Asked { label: "shop/cart".into(), asked: 10, answered: 10 }];
        let queries = snapshot["pods"][0]["total"]["queries"].clone();
        let lines: Vec<String> = verdicts.iter().chain([snapshot]).map(Value::to_string).collect();
        let diagnosis = json!({"kind": "diagnosis", "queries": queries, "findings": findings});
        let diagnosis: Diagnosis = serde_json::from_value(diagnosis).unwrap();
        Cleanliness::judge(clients, &Observed::parse(&lines).unwrap(), &diagnosis)
    }

    fn verdict(label: &str, loss: bool) -> Value {
        json!({"schema": "dnsprobe/1", "kind": "verdict", "cause": "policy-drop", "loss": loss,
            "owner": {"label": label}, "summary": "", "query": {"name": null, "type": null,
            "id": 1, "client": "10.0.0.1:1", "server": "10.0.0.2:53"}})
    }

    #[test]
    fn equal_counts_and_no_verdict_are_clean() {
        let clean = judge(10, 10, &[]);
        assert_eq!(clean.problems, Vec::<String>::new());
        assert!(clean.to_string().contains("10 queries asked") && clean.findings == 0);
    }

    #[test]
    fn any_verdict_about_a_client_is_a_finding() {
        for loss in [true, false] {
            assert_eq!(judge(10, 10, &[verdict("shop/cart", loss)]).problems.len(), 1);
        }
    }

    #[test]
    fn any_finding_is_one_too_many() {
        let finding = |label: &str| {
            json!({"code": "slow-upstream", "summary": "slow",
                "pods": [{"owner": {"label": label}}]})
        };
        assert_eq!(judge_with(10, 10, &[], &[finding("shop/cart")]).problems.len(), 1);
        assert_eq!(judge_with(10, 10, &[], &[finding("host/apt")]).problems.len(), 0);
        let about_nobody = json!({"code": "ndots", "summary": "x", "pods": []});
        assert_eq!(judge_with(10, 10, &[], &[about_nobody]).problems.len(), 1);
    }

    #[test]
    fn somebody_elses_loss_is_told_but_not_ours() {
        let clean = judge(10, 10, &[verdict("host/apt", true)]);
        assert!(clean.problems.is_empty() && clean.to_string().contains("1 about other"));
    }

    #[test]
    fn a_pair_with_one_id_may_happen_but_not_often() {
        assert_eq!((pairs_with_one_id(10), pairs_with_one_id(1_800_000)), (1, 29));
        let not_followed = |count: u64| {
            let mut snapshot = snapshot(10, 10 - count);
            snapshot["pods"][0]["total"]["not_followed"] = count.into();
            judge_snapshot(&[], &[], &snapshot)
        };
        let one = not_followed(1);
        assert!(one.problems.is_empty() && one.to_string().contains("1 answers not followed"));
        assert_eq!(not_followed(2).problems.len(), 1);
    }

    #[test]
    fn a_wrong_count_is_not_clean() {
        // dnsprobe top and diagnose both miss a query.
        assert_eq!(judge(9, 10, &[]).problems.len(), 2);
        assert_eq!(judge(10, 9, &[]).problems.len(), 1);
    }
}
