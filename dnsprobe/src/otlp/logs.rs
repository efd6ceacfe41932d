//! Lost queries and near misses as OTLP log records.

use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::any_value::Value,
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
};

use super::value::{any, attribute, number, resource, scope};
use crate::{engine::Verdict, identity::Owner, time::Timestamp};

/// The request that tells of verdicts; `now`: when they are told.
#[must_use]
pub fn logs<'a>(
    verdicts: impl Iterator<Item = &'a Verdict>,
    node: Option<&str>,
    now: Timestamp,
) -> ExportLogsServiceRequest {
    let log_records = verdicts.map(|verdict| record(verdict, now)).collect();
    let scope = ScopeLogs { scope: Some(scope()), log_records, ..ScopeLogs::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource(node)),
            scope_logs: vec![scope],
            ..ResourceLogs::default()
        }],
    }
}

fn record(verdict: &Verdict, now: Timestamp) -> LogRecord {
    let (severity, text, event) = if verdict.loss {
        (SeverityNumber::Warn, "WARN", "dnsprobe.query.lost")
    } else {
        (SeverityNumber::Info, "INFO", "dnsprobe.query.near_miss")
    };
    let query = &verdict.query;
    let mut attributes = vec![
        attribute("error.type", verdict.cause.as_str()),
        attribute("dnsprobe.owner", verdict.owner.to_string()),
        attribute("client.address", query.client.ip().to_string()),
        number("client.port", query.client.port().into()),
        attribute("server.address", query.server.ip().to_string()),
        number("server.port", query.server.port().into()),
        number("dnsprobe.query.id", query.id.into()),
        attribute("dnsprobe.advice", verdict.advice),
    ];
    if let Owner::Pod { namespace, pod, uid, .. } = &*verdict.owner {
        attributes.push(attribute("k8s.pod.uid", uid));
        let names = [("k8s.namespace.name", namespace), ("k8s.pod.name", pod)];
        let known =
            names.into_iter().filter_map(|(key, name)| Some(attribute(key, name.as_ref()?)));
        attributes.extend(known);
    }
    if let Some(question) = &query.question {
        attributes.push(attribute("dns.question.name", question.name.to_string()));
    }
    if let Some(pid) = query.pid {
        attributes.push(number("process.pid", pid.into()));
    }
    if let Some(command) = &query.command {
        attributes.push(attribute("process.executable.name", command));
    }
    LogRecord {
        time_unix_nano: verdict.time.unix_ns(),
        observed_time_unix_nano: now.unix_ns(),
        severity_number: severity as i32,
        severity_text: text.to_owned(),
        event_name: event.to_owned(),
        body: Some(any(Value::StringValue(verdict.summary.clone()))),
        attributes,
        ..LogRecord::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::clash;

    #[test]
    fn a_lost_query_is_a_record_with_its_cause_owner_and_name() {
        let verdict = clash();
        let request = logs(std::iter::once(&verdict), Some("node-1"), verdict.time);
        let record = &request.resource_logs[0].scope_logs[0].log_records[0];
        assert_eq!(record.event_name, "dnsprobe.query.lost");
        assert_eq!(record.time_unix_nano, verdict.time.unix_ns());
        for needed in [
            attribute("error.type", "conntrack-clash"),
            attribute("dnsprobe.owner", verdict.owner.to_string()),
            attribute("dns.question.name", verdict.query.question.unwrap().name.to_string()),
        ] {
            assert!(record.attributes.contains(&needed), "{needed:?}: {:?}", record.attributes);
        }
    }
}
