//! What a clash verdict must prove: both queries and both tuples, and that
//! they really collide.

use serde_json::Value;

use crate::observed::{Observed, Verdict};

/// Which part of the tuples collided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collision {
    /// One reply tuple for two originals: the loser was dropped.
    Reply,
    /// One original tuple with two reply tuples: resolved.
    Original,
}

/// Everything wrong with the clash verdicts of one cause. With `siblings` the
/// other query of the clash must be named, from the same socket.
pub(super) fn clash_problems(
    observed: &Observed,
    cause: &str,
    collision: Collision,
    siblings: bool,
) -> Vec<String> {
    let mut problems = Vec::new();
    for verdict in observed.verdicts.iter().filter(|verdict| verdict.cause == cause) {
        let about = format!("`{cause}` for {} {}", verdict.query.client, verdict.query.id);
        let mut wrong = |what: &str| problems.push(format!("{about}: {what}"));
        if siblings {
            match &verdict.sibling {
                None => wrong("no sibling query named"),
                Some(sibling) if sibling.client != verdict.query.client => {
                    wrong("the sibling is not from the same socket");
                }
                Some(_) => {}
            }
        }
        check_tuples(verdict, collision, &mut wrong);
    }
    problems
}

fn check_tuples(verdict: &Verdict, collision: Collision, wrong: &mut impl FnMut(&str)) {
    let Some(tuples) = verdict.tuples() else {
        return wrong("no tuples in the evidence");
    };
    let part = |who: &str, direction: &str| tuples[who][direction].as_str().unwrap_or_default();
    let (loser, winner) = ("loser", "winner");
    let same_original = part(loser, "original") == part(winner, "original");
    let same_reply = part(loser, "reply") == part(winner, "reply");
    let collided = match collision {
        Collision::Reply => same_reply && !same_original,
        Collision::Original => same_original && !same_reply,
    };
    if !collided {
        wrong(&format!(
            "tuples do not collide in the {collision:?} direction: {}",
            compact(tuples)
        ));
    }
    let query = format!("udp {} -> {}", verdict.query.client, verdict.query.server);
    if part(loser, "original") != query {
        wrong(&format!("the losing tuple is not the query's ({query}): {}", compact(tuples)));
    }
}

fn compact(value: &Value) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn observed(loser: [&str; 2], winner: [&str; 2], sibling: Value) -> Observed {
        let query = |client: &str| json!({"name": null, "type": null, "id": 1, "client": client, "server": "10.96.0.11:53"});
        let sibling = if sibling.is_null() { sibling } else { query(sibling.as_str().unwrap()) };
        let verdict = json!({"schema": "dnsprobe/1", "kind": "verdict", "cause": "conntrack-clash",
            "loss": true, "owner": {"label": "a/b"}, "summary": "", "query": query("10.244.0.1:9"),
            "sibling": sibling, "evidence": [{"fact": "x"}, {"tuples": {
                "loser": {"original": loser[0], "reply": loser[1]},
                "winner": {"original": winner[0], "reply": winner[1]}}}]});
        let snapshot = json!({"schema": "dnsprobe/1", "kind": "snapshot", "pods": [], "completeness":
            {"complete": true, "missing": [], "lost_events": 0, "in_flight_full": 0,
             "stats_full": 0, "tcp_unread": 0, "unattributed_queries": 0}});
        Observed::parse(&[verdict.to_string(), snapshot.to_string()]).unwrap()
    }

    const OWN: &str = "udp 10.244.0.1:9 -> 10.96.0.11:53";
    const OTHER: &str = "udp 10.244.0.1:9 -> 10.96.0.10:53";
    const REPLY: &str = "udp 10.244.0.2:53 -> 10.244.0.1:9";

    fn problems(observed: &Observed) -> Vec<String> {
        clash_problems(observed, "conntrack-clash", Collision::Reply, true)
    }

    #[test]
    fn a_proven_clash_is_accepted() {
        let good = observed([OWN, REPLY], [OTHER, REPLY], json!("10.244.0.1:9"));
        assert_eq!(problems(&good), Vec::<String>::new());
    }

    #[test]
    fn each_gap_in_the_proof_is_found() {
        let same = json!("10.244.0.1:9");
        for bad in [
            observed([OWN, REPLY], [OTHER, REPLY], Value::Null),
            observed([OWN, REPLY], [OTHER, REPLY], json!("10.244.0.1:10")),
            observed([OWN, REPLY], [OTHER, OTHER], same.clone()),
            observed([OWN, REPLY], [OWN, REPLY], same.clone()),
            observed([OTHER, REPLY], [OWN, REPLY], same),
        ] {
            assert_eq!(problems(&bad).len(), 1, "{bad:?}");
        }
    }
}
