//! A reading as OTLP metrics, all cumulative since the start.

use dnsprobe_common::flow::Role;
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point::Value,
    },
};

use super::value::{attribute, resource, scope};
use crate::{
    metrics::{Labels, Limits, Owners, Sums},
    stats::{BOUNDS_SECONDS, Buckets, Snapshot, role_name},
};

/// When what is counted began, and when it was read; Unix nanoseconds.
#[derive(Clone, Copy)]
struct Span {
    start_ns: u64,
    end_ns: u64,
}

/// An owner's sums, and how it is called.
struct Row {
    attributes: Vec<KeyValue>,
    role: Role,
    sums: Sums,
}

/// The request that tells of a reading. `owners` is kept from one to the next.
#[must_use]
pub fn metrics(
    snapshot: &Snapshot,
    limits: &Limits,
    owners: &mut Owners,
) -> ExportMetricsServiceRequest {
    let end_ns = snapshot.time.unix_ns();
    let since_ns = (snapshot.since_seconds.max(0.0) * 1e9) as u64;
    let span = Span { start_ns: end_ns.saturating_sub(since_ns), end_ns };
    let rows: Vec<Row> = owners
        .sums(&snapshot.pods, limits)
        .into_iter()
        .map(|(labels, sums)| Row { attributes: attributes(&labels), role: labels.role, sums })
        .collect();
    let is_complete = i64::from(snapshot.completeness.is_complete());
    let metrics = vec![
        durations(
            "dns.lookup.duration",
            "From a query sent to its answer read, as the process itself would measure it.",
            &rows,
            Role::Client,
            span,
        ),
        durations(
            "dnsprobe.server.duration",
            "From a query queued at a server here to its answer sent.",
            &rows,
            Role::Server,
            span,
        ),
        sum(
            "dnsprobe.queries",
            "{query}",
            "Queries.",
            points(&rows, span, |sums| vec![(None, sums.queries)]),
        ),
        sum(
            "dnsprobe.answers",
            "{answer}",
            "Answers by response code.",
            points(&rows, span, |sums| {
                let codes = sums.rcodes.iter();
                codes
                    .map(|(code, count)| (Some(attribute("dnsprobe.rcode", code)), *count))
                    .collect()
            }),
        ),
        sum(
            "dnsprobe.lost_queries",
            "{query}",
            "Lost queries by cause.",
            points(&rows, span, |sums| {
                let lost = sums.lost.iter();
                lost.map(|(cause, count)| (Some(attribute("error.type", cause.as_str())), *count))
                    .collect()
            }),
        ),
        sum(
            "dnsprobe.near_misses",
            "{query}",
            "Queries nearly lost, by cause.",
            points(&rows, span, |sums| {
                let near = sums.near_misses.iter();
                near.map(|(cause, count)| {
                    (Some(attribute("dnsprobe.cause", cause.as_str())), *count)
                })
                .collect()
            }),
        ),
        metric(
            "dnsprobe.complete",
            "1",
            "1 while everything was seen.",
            Data::Gauge(Gauge { data_points: vec![point(span, Vec::new(), is_complete)] }),
        ),
    ];
    let scope = ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource(snapshot.node.as_deref())),
            scope_metrics: vec![scope],
            ..ResourceMetrics::default()
        }],
    }
}

/// The names of the semantic conventions where they have one.
fn attributes(labels: &Labels) -> Vec<KeyValue> {
    let mut attributes = vec![
        attribute("dnsprobe.owner.kind", labels.kind),
        attribute("dnsprobe.role", role_name(labels.role)),
    ];
    for (key, value) in [
        ("k8s.namespace.name", &labels.namespace),
        ("k8s.pod.name", &labels.pod),
        ("dnsprobe.owner.unit", &labels.unit),
    ] {
        if !value.is_empty() {
            attributes.push(attribute(key, value));
        }
    }
    attributes
}

fn durations(name: &str, description: &str, rows: &[Row], role: Role, span: Span) -> Metric {
    let rows = rows.iter().filter(|row| row.role == role && row.sums.latency.count() > 0);
    let data_points =
        rows.map(|row| histogram(row.attributes.clone(), &row.sums.latency, span)).collect();
    let histogram = Histogram {
        data_points,
        aggregation_temporality: AggregationTemporality::Cumulative as i32,
    };
    metric(name, "s", description, Data::Histogram(histogram))
}

fn histogram(attributes: Vec<KeyValue>, buckets: &Buckets, span: Span) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes,
        start_time_unix_nano: span.start_ns,
        time_unix_nano: span.end_ns,
        count: buckets.count(),
        sum: Some(buckets.sum_seconds),
        bucket_counts: buckets.counts.to_vec(),
        explicit_bounds: BOUNDS_SECONDS.to_vec(),
        ..HistogramDataPoint::default()
    }
}

/// A point for each count that `of` finds in each row.
fn points(
    rows: &[Row],
    span: Span,
    of: impl Fn(&Sums) -> Vec<(Option<KeyValue>, u64)>,
) -> Vec<NumberDataPoint> {
    let each = rows.iter().flat_map(|row| {
        of(&row.sums).into_iter().map(|(more, count)| {
            let attributes = row.attributes.iter().cloned().chain(more).collect();
            point(span, attributes, i64::try_from(count).unwrap_or(i64::MAX))
        })
    });
    each.collect()
}

fn point(span: Span, attributes: Vec<KeyValue>, value: i64) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano: span.start_ns,
        time_unix_nano: span.end_ns,
        value: Some(Value::AsInt(value)),
        ..NumberDataPoint::default()
    }
}

fn sum(name: &str, unit: &str, description: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    let sum = Sum {
        data_points,
        aggregation_temporality: AggregationTemporality::Cumulative as i32,
        is_monotonic: true,
    };
    metric(name, unit, description, Data::Sum(sum))
}

fn metric(name: &str, unit: &str, description: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        description: description.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::snapshot;

    fn told(limit: usize) -> Vec<Metric> {
        let limits = Limits { owners: limit, ..Limits::default() };
        let mut snapshot = snapshot();
        for pod in &mut snapshot.pods {
            pod.latency.counts[3] = 5;
            pod.latency.sum_seconds = 0.004;
        }
        let mut request = metrics(&snapshot, &limits, &mut Owners::default());
        let mut resource = request.resource_metrics.remove(0);
        let names: Vec<_> =
            resource.resource.unwrap().attributes.into_iter().map(|it| it.key).collect();
        assert_eq!(names[0], "service.name");
        resource.scope_metrics.remove(0).metrics
    }

    fn queries(metrics: &[Metric]) -> i64 {
        let queries = metrics.iter().find(|metric| metric.name == "dnsprobe.queries").unwrap();
        let Some(Data::Sum(sum)) = &queries.data else { panic!() };
        assert!(sum.is_monotonic);
        let values = sum.data_points.iter().map(|point| match point.value {
            Some(Value::AsInt(value)) => value,
            _ => panic!(),
        });
        values.sum()
    }

    #[test]
    fn counts_are_those_of_the_reading_whoever_is_told_apart() {
        let all: u64 = snapshot().pods.iter().map(|pod| pod.total.queries).sum();
        assert_eq!(queries(&told(1_000)).cast_unsigned(), all);
        assert_eq!(queries(&told(0)).cast_unsigned(), all);
    }

    #[test]
    fn a_lookups_duration_is_a_histogram_whose_buckets_add_up() {
        let metrics = told(1_000);
        let durations = metrics.iter().find(|metric| metric.name == "dns.lookup.duration").unwrap();
        assert_eq!(durations.unit, "s");
        let Some(Data::Histogram(histogram)) = &durations.data else { panic!() };
        assert!(!histogram.data_points.is_empty());
        for point in &histogram.data_points {
            assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
            assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
            assert!(point.start_time_unix_nano < point.time_unix_nano);
            let of_clients = point.attributes.contains(&attribute("dnsprobe.role", "client"));
            assert!(of_clients, "{:?}", point.attributes);
        }
    }
}
