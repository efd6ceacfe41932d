//! JSON lines: one object per line, each with its schema and kind.

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    engine::{Retry, Transaction, Verdict},
    findings::Diagnosis,
    report::Report,
    stats::{ServiceCounts, Snapshot},
};

/// Name and version of the schema of every object.
pub const SCHEMA: &str = "dnsprobe/1";

/// Anything that is printed as JSON.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Record<'a> {
    /// What a window added up to.
    Snapshot(&'a Snapshot),
    /// One answered query.
    Transaction(&'a Transaction),
    /// One decided query.
    Verdict(&'a Verdict),
    /// One lost query whose question was asked again and answered.
    Retry(&'a Retry),
    /// Everything that `diagnose` found.
    Diagnosis(&'a Diagnosis),
    /// A watch as a page shows it.
    Report(&'a Report),
    /// Where queries to services went.
    Services {
        /// Each service.
        services: &'a [ServiceCounts],
        /// Queries that are in none of them, because there were too many backends.
        not_counted: u64,
    },
}

/// Writes one object and the end of its line.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write(record: Record<'_>, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        schema: &'static str,
        #[serde(flatten)]
        record: Record<'a>,
    }
    // In one piece, so that a reader never sees half a line.
    let mut line = serde_json::to_vec(&Line { schema: SCHEMA, record })?;
    line.push(b'\n');
    out.write_all(&line)
}

#[cfg(test)]
#[path = "../../tests/schema/mod.rs"]
mod schema;

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::output::testing::{clash, services, snapshot, transaction};

    fn parsed(record: Record<'_>) -> Value {
        let mut out = Vec::new();
        write(record, &mut out).unwrap();
        assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
        assert!(out.starts_with(br#"{"schema":"dnsprobe/1","kind":""#));
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn services_are_as_the_schema_says() {
        let services = services();
        let mut object = parsed(Record::Services { services: &services, not_counted: 3 });
        assert_eq!(schema::problems(&object), Vec::<String>::new(), "{object}");
        object["services"][0]["backends"][0]["queries"] = "many".into();
        assert_eq!(schema::problems(&object).len(), 1);
    }

    #[test]
    fn a_snapshot_is_one_line_with_its_counts() {
        let json = parsed(Record::Snapshot(&snapshot()));
        assert_eq!(json["kind"], "snapshot");
        let pod = &json["pods"][0];
        assert_eq!(pod["owner"]["label"], "shop/cart-0");
        assert_eq!(pod["total"]["lost"]["conntrack-clash"], 1);
        assert_eq!(pod["total"]["near_misses"]["conntrack-clash-resolved"], 2);
        assert_eq!(pod["window"]["latency_seconds"]["count"], 6);
        assert_eq!(json["completeness"]["complete"], true);
    }

    #[test]
    fn a_transaction_tells_its_parts() {
        let json = parsed(Record::Transaction(&transaction()));
        assert_eq!(json["kind"], "transaction");
        assert_eq!(json["rcode"], "NOERROR");
        assert_eq!(json["role"], "client");
        assert_eq!(json["query"]["name"], "race.test.svc.");
        assert_eq!(json["query"]["server"], "10.96.0.10:53");
        assert_eq!(json["parts"]["answer_queued_seconds"], 0.0200);
    }

    #[test]
    fn a_verdict_tells_cause_sibling_and_evidence() {
        let json = parsed(Record::Verdict(&clash()));
        assert_eq!(json["kind"], "verdict");
        assert_eq!(json["cause"], "conntrack-clash");
        assert_eq!(json["sibling"]["type"], "A");
        assert_eq!(json["sibling"]["owner"]["label"], "shop/cart-0");
        assert!(json["evidence"][0]["tuples"]["loser"]["reply"].is_string());
    }
}
