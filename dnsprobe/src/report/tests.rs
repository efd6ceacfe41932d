//! A report made by hand.

use super::*;
use crate::{
    findings::{Findings, Options},
    output::testing::{clash, snapshot, transaction},
};

/// One clash and one answer of `shop/cart-0`.
pub(crate) fn report(
    query: Option<&str>,
    wanted: fn(&Owner) -> bool,
) -> Result<Report, NoSuchQuery> {
    let options = Options {
        slow_after: std::time::Duration::from_millis(100),
        cluster_domain: None,
        ipvs_udp_timeout: std::time::Duration::from_secs(300),
    };
    let mut findings = Findings::new(options, Box::new(wanted));
    let mut collector = Collector::new(Box::new(wanted), query.map(|id| id.parse().unwrap()));
    findings.transaction(&transaction());
    collector.transaction(&transaction());
    findings.verdict(&clash());
    collector.verdict(&clash());
    collector.snapshot(&snapshot(), true);
    let origin = Origin {
        node: "node-1".to_owned(),
        kernel: "6.12.0".to_owned(),
        dnsprobe: "0.1.0".to_owned(),
        lost_after_seconds: 5.0,
        recording_damage: None,
        transactions: true,
    };
    collector.finish(origin, findings.finish(&snapshot()))
}

#[test]
fn a_report_has_clients_backends_losses_and_the_one_to_draw() {
    let report = report(None, |_| true).unwrap();
    let pods: Vec<_> =
        report.pods.iter().map(|pod| (pod.owner.to_string(), pod.lost_total)).collect();
    assert_eq!(pods, [("shop/cart-0".to_owned(), 1)], "servers are no clients");
    assert_eq!((report.backends[0].answered, report.backends[0].lost), (1, 1));
    assert_eq!(report.lost_queries[0].id.to_string(), "10.244.0.11:40000/4660");
    assert_eq!(report.shown.as_ref().unwrap().query.id, 4660);
    assert_eq!(report.slices.iter().map(|slice| slice.queries).sum::<u64>(), 6);
    assert_eq!(report.slices[0].lost.values().sum::<u64>(), 1);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["node"], "node-1");
    assert_eq!(json["lost_queries"][0]["cause"], "conntrack-clash");
    assert_eq!(json["diagnosis"]["findings"][0]["code"], "conntrack-clash");
}

#[test]
fn only_the_wanted_owners_are_in_it() {
    let report = report(None, |_| false).unwrap();
    assert!(report.pods.is_empty() && report.backends.is_empty() && report.lost_queries.is_empty());
    assert!(report.shown.is_none());
    assert_eq!(report.slices[0].queries, 0);
}

#[test]
fn a_query_that_was_not_lost_cannot_be_drawn() {
    assert!(report(Some("4660"), |_| true).is_ok());
    assert!(report(Some("1"), |_| true).is_err());
}
