//! A comparison that cannot fail is a defect: each kind of difference must be
//! found, and nothing else.

use serde_json::{Value, json};

use super::*;
use crate::client::message::QueryType;

const POD: &str = "legacy/worker";
const CAUSE: &str = "conntrack-clash";

fn unanswered() -> Unanswered {
    Unanswered {
        client: "10.244.0.13:40000".parse().unwrap(),
        server: "10.96.0.10:53".parse().unwrap(),
        id: 7,
        kind: QueryType::Aaaa,
        send_error: None,
    }
}

/// One query of two lost, with a near miss beside it.
fn expectation() -> Expectation {
    let rcodes = BTreeMap::from([("NOERROR".to_owned(), 1)]);
    let unanswered = vec![unanswered()];
    let report = Report { sent: 2, answered: 1, rcodes, unanswered, ..Report::default() };
    let mut expectation = Expectation::default();
    expectation.loses(POD, &report, CAUSE).unwrap();
    expectation.near_misses(POD, "conntrack-clash-resolved", 1);
    expectation
}

fn row(label: &str) -> Value {
    json!({"owner": {"label": label}, "role": "client", "total": {
        "queries": 2, "answered": 1, "lost": {CAUSE: 1}, "lost_total": 1,
        "near_misses": {"conntrack-clash-resolved": 1}, "in_flight": 0, "not_followed": 0,
        "rcodes": {"NOERROR": 1}, "latency_seconds": null}})
}

fn verdict(label: &str, cause: &str, loss: bool) -> Value {
    json!({"schema": "dnsprobe/1", "kind": "verdict", "cause": cause, "loss": loss,
        "owner": {"label": label}, "summary": "", "query": {"name": null, "type": "AAAA", "id": 7,
        "client": "10.244.0.13:40000", "server": "10.96.0.10:53"}})
}

fn lines(rows: &[Value], verdicts: &[Value]) -> Vec<String> {
    let completeness = json!({"complete": true, "missing": [], "lost_events": 0,
        "in_flight_full": 0, "stats_full": 0, "tcp_unread": 0, "unattributed_queries": 0});
    let snapshot = json!({"schema": "dnsprobe/1", "kind": "snapshot", "pods": rows,
        "completeness": completeness});
    verdicts.iter().chain([&snapshot]).map(Value::to_string).collect()
}

fn good_verdicts() -> Vec<Value> {
    vec![verdict(POD, CAUSE, true), verdict(POD, "conntrack-clash-resolved", false)]
}

fn problems(rows: &[Value], verdicts: &[Value]) -> Vec<String> {
    expectation().problems(&Observed::parse(&lines(rows, verdicts)).unwrap())
}

fn with(field: &str, value: Value) -> Value {
    let mut row = row(POD);
    row["total"][field] = value;
    row
}

#[test]
fn what_was_expected_is_no_problem() {
    assert_eq!(problems(&[row(POD)], &good_verdicts()), Vec::<String>::new());
}

#[test]
fn a_missing_verdict_is_found() {
    let found = problems(&[row(POD)], &good_verdicts()[1..]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("1 loss verdicts `conntrack-clash` missing"));
    assert!(found[1].contains("no `conntrack-clash` for the lost query Aaaa 7"));
}

#[test]
fn an_extra_verdict_is_found() {
    for extra in [verdict(POD, CAUSE, true), verdict("shop/cart", "policy-drop", true)] {
        let found = problems(&[row(POD)], &[good_verdicts(), vec![extra]].concat());
        assert!(found.iter().any(|p| p.contains("too many")), "{found:?}");
    }
}

#[test]
fn a_verdict_on_the_wrong_owner_is_found() {
    let mut verdicts = good_verdicts();
    verdicts[0]["owner"]["label"] = json!("shop/cart");
    let found = problems(&[row(POD)], &verdicts);
    assert!(found.iter().any(|p| p.starts_with("shop/cart") && p.contains("too many")));
    assert!(found.iter().any(|p| p.starts_with(POD) && p.contains("missing")));
}

#[test]
fn a_verdict_on_the_wrong_query_is_found() {
    let mut verdicts = good_verdicts();
    verdicts[0]["query"]["id"] = json!(8);
    let found = problems(&[row(POD)], &verdicts);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_wrong_count_is_found() {
    for (field, value) in [
        ("queries", json!(3)),
        ("answered", json!(2)),
        ("lost", json!({"unexplained": 1})),
        ("lost", json!({})),
        ("near_misses", json!({})),
        ("near_misses", json!({"conntrack-clash-resolved": 2})),
        ("not_followed", json!(1)),
        ("rcodes", json!({"NXDOMAIN": 1})),
    ] {
        let found = problems(&[with(field, value.clone())], &good_verdicts());
        assert!(found.iter().any(|p| p.contains(field)), "{field} {value}: {found:?}");
    }
}

#[test]
fn queries_of_somebody_else_are_found() {
    let found = problems(&[row(POD), row("shop/cart")], &good_verdicts());
    assert_eq!(found, ["shop/cart: 2 queries nobody there sent"]);
}

#[test]
fn a_pod_that_was_not_seen_is_found() {
    let found = problems(&[], &good_verdicts());
    assert_eq!(found, ["legacy/worker: not seen at all, expected 2 queries"]);
}

#[test]
fn a_broken_conservation_law_is_found_in_any_row() {
    let mut server = with("queries", json!(5));
    server["role"] = json!("server");
    server["owner"]["label"] = json!("kube-system/coredns-0");
    let found = problems(&[row(POD), server], &good_verdicts());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("5 queries, but 1 answered + 1 lost"));
}

#[test]
fn a_broken_conservation_law_is_found_in_an_earlier_snapshot() {
    let bad = with("in_flight", json!(-1));
    let mut text = lines(&[bad], &[]);
    text.extend(lines(&[row(POD)], &good_verdicts()));
    let found = expectation().problems(&Observed::parse(&text).unwrap());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("-1 in flight"));
}

#[test]
fn a_query_in_flight_at_rest_is_found() {
    let mut waiting = with("in_flight", json!(1));
    waiting["total"]["queries"] = json!(3);
    let found = problems(&[waiting], &good_verdicts());
    assert!(found.iter().any(|p| p.contains("1 still in flight at rest")), "{found:?}");
}

#[test]
fn overflows_are_found() {
    let mut text = lines(&[row(POD)], &good_verdicts());
    let last = text.last_mut().unwrap();
    *last = last.replace("\"lost_events\":0", "\"lost_events\":4");
    let found = expectation().problems(&Observed::parse(&text).unwrap());
    assert_eq!(found, ["completeness: lost_events is 4"]);
}

#[test]
fn latency_may_differ_by_five_percent() {
    let own = Latency { count: 1, p50: 0.0200, p95: 0.02, p99: 0.0200, max: 0.02 };
    for (seen, good) in [(0.0209, true), (0.0211, false), (0.0191, true), (0.0189, false)] {
        let mut expectation = expectation();
        expectation.clients.get_mut(POD).unwrap().latency = Some(own);
        let row = with("latency_seconds", json!({"count": 1, "p50": seen, "p99": 0.02}));
        let observed = Observed::parse(&lines(&[row], &good_verdicts())).unwrap();
        assert_eq!(expectation.problems(&observed).is_empty(), good, "{seen}");
    }
}

#[test]
fn a_fault_that_did_not_happen_is_no_expectation() {
    let report = Report { sent: 2, answered: 2, ..Report::default() };
    assert!(Expectation::default().loses(POD, &report, CAUSE).is_err());
}

#[test]
fn a_healthy_pod_that_lost_something_is_no_expectation() {
    let report = Report { sent: 2, answered: 1, ..Report::default() };
    assert!(Expectation::default().healthy(POD, &report).is_err());
}

#[test]
fn other_output_is_refused() {
    for line in [
        "nonsense",
        r#"{"schema":"dnsprobe/2","kind":"snapshot"}"#,
        r#"{"schema":"dnsprobe/1","kind":"x"}"#,
    ] {
        assert!(Observed::parse(&[line.to_owned()]).is_err());
    }
}

fn losses(rows: &[Value], verdicts: &[Value]) -> Losses {
    expectation().losses(&Observed::parse(&lines(rows, verdicts)).unwrap())
}

/// What became of the one lost query, and of the verdict about it: right,
/// unexplained, wrong cause, wrong pod, missing, false.
fn fate(losses: &Losses) -> [u64; 6] {
    let Losses { right, unexplained, wrong_cause, wrong_pod, missing, false_causes, .. } = *losses;
    [right, unexplained, wrong_cause, wrong_pod, missing, false_causes]
}

#[test]
fn a_right_verdict_is_counted_as_right() {
    let losses = losses(&[row(POD)], &good_verdicts());
    assert_eq!(fate(&losses), [1, 0, 0, 0, 0, 0]);
    assert_eq!((losses.lost, losses.counted), (1, 1));
    let pod = PodLosses { pod: POD.into(), cause: CAUSE.into(), lost: 1, counted: 1 };
    assert_eq!(losses.pods, [pod]);
}

#[test]
fn each_way_to_be_wrong_is_counted_as_what_it_is() {
    let near_miss = || verdict(POD, "conntrack-clash-resolved", false);
    let of = |wrong: Value| fate(&losses(&[row(POD)], &[wrong, near_miss()]));
    assert_eq!(of(verdict(POD, "unexplained", true)), [0, 1, 0, 0, 0, 0]);
    assert_eq!(of(verdict(POD, "policy-drop", true)), [0, 0, 1, 0, 0, 0]);
    assert_eq!(of(verdict("shop/cart", CAUSE, true)), [0, 0, 0, 1, 0, 0]);
    let mut other_query = verdict(POD, CAUSE, true);
    other_query["query"]["id"] = json!(8);
    assert_eq!(of(other_query), [0, 0, 0, 0, 1, 1]);
    assert_eq!(fate(&losses(&[row(POD)], &[near_miss()])), [0, 0, 0, 0, 1, 0]);
}

#[test]
fn verdicts_about_nothing_are_false_causes() {
    for extra in [verdict(POD, CAUSE, true), verdict("shop/cart", "unexplained", true)] {
        let losses = losses(&[row(POD)], &[good_verdicts(), vec![extra]].concat());
        assert_eq!(fate(&losses), [1, 0, 0, 0, 0, 1]);
    }
    let near_miss = verdict("shop/cart", "conntrack-clash-resolved", false);
    let losses = losses(&[row(POD)], &[good_verdicts(), vec![near_miss]].concat());
    assert_eq!(fate(&losses), [1, 0, 0, 0, 0, 1]);
}

#[test]
fn losses_that_only_the_client_knows_are_matched_by_pod_and_cause() {
    let mut expectation = Expectation::default();
    let report = Report { sent: 3, answered: 1, ..Report::default() };
    expectation.loses(POD, &report, CAUSE).unwrap();
    let verdicts = [verdict(POD, CAUSE, true), verdict(POD, "unexplained", true)];
    let observed = Observed::parse(&lines(&[row(POD)], &verdicts)).unwrap();
    let losses = expectation.losses(&observed);
    assert_eq!(fate(&losses), [1, 1, 0, 0, 0, 0]);
    assert_eq!((losses.lost, losses.counted), (2, 1));
}

#[test]
fn every_comparison_says_something() {
    let observed = Observed::parse(&lines(&[row(POD)], &good_verdicts())).unwrap();
    let checks = expectation().checks(&observed);
    assert!(checks.iter().all(|check| check.right), "{checks:?}");
    assert_eq!(
        checks[0].what,
        "legacy/worker: 2 queries, 1 answered, 1 lost `conntrack-clash`, \
         1 near misses `conntrack-clash-resolved`"
    );
}
