//! Whether a clean run was clean: what the clients asked against what dnsprobe
//! counted, and everything dnsprobe found although there was nothing to find.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

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
    /// Verdicts, near misses included: nothing was wrong.
    findings: u64,
    /// Verdicts about processes that are not of this test.
    about_others: u64,
    clients: Vec<Asked>,
    /// Everything that is not as it must be.
    pub(super) problems: Vec<String>,
}

impl Cleanliness {
    /// Compare the clients' counts with dnsprobe's last word.
    pub(super) fn judge(clients: Vec<Asked>, observed: &Observed) -> Self {
        let mut result = Self {
            asked: clients.iter().map(|client| client.asked).sum(),
            answered: clients.iter().map(|client| client.answered).sum(),
            counted: 0,
            counted_answered: 0,
            findings: 0,
            about_others: 0,
            clients,
            problems: Vec::new(),
        };
        result.compare_counts(observed);
        result.count_findings(observed);
        let completeness = &observed.last.completeness;
        for (what, count) in [
            ("lost_events", completeness.lost_events),
            ("in_flight_full", completeness.in_flight_full),
            ("stats_full", completeness.stats_full),
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
            differ("answered", client.answered, seen.answered);
            differ("lost", 0, seen.lost_total);
            differ("not followed", 0, seen.not_followed);
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

    fn count_findings(&mut self, observed: &Observed) {
        let mut found: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for verdict in &observed.verdicts {
            let label = verdict.owner.label.as_str();
            if self.clients.iter().any(|client| client.label == label) {
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

impl fmt::Display for Cleanliness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "clean: {} queries asked, {} answered by {} clients; dnsprobe counted {} and {}; \
             {} findings",
            self.asked,
            self.answered,
            self.clients.len(),
            self.counted,
            self.counted_answered,
            self.findings
        )?;
        if self.about_others > 0 {
            write!(f, "; {} verdicts about other processes of this machine", self.about_others)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn judge(queries: u64, answered: u64, verdicts: &[Value]) -> Cleanliness {
        let clients = vec![Asked { label: "shop/cart".into(), asked: 10, answered: 10 }];
        let snapshot = json!({"schema": "dnsprobe/1", "kind": "snapshot", "pods": [
            {"owner": {"label": "shop/cart"}, "role": "client", "total": {
                "queries": queries, "answered": answered, "lost": {}, "lost_total": 0,
                "near_misses": {}, "in_flight": 0, "not_followed": 0, "rcodes": {},
                "latency_seconds": null}}],
            "completeness": {"complete": true, "missing": [], "lost_events": 0,
                "in_flight_full": 0, "stats_full": 0, "unattributed_queries": 0}});
        let lines: Vec<String> = verdicts.iter().chain([&snapshot]).map(Value::to_string).collect();
        Cleanliness::judge(clients, &Observed::parse(&lines).unwrap())
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
    fn somebody_elses_loss_is_told_but_not_ours() {
        let clean = judge(10, 10, &[verdict("host/apt", true)]);
        assert!(clean.problems.is_empty() && clean.to_string().contains("1 verdicts about other"));
    }

    #[test]
    fn a_wrong_count_is_not_clean() {
        assert_eq!(judge(9, 10, &[]).problems.len(), 1);
        assert_eq!(judge(10, 9, &[]).problems.len(), 1);
    }
}
