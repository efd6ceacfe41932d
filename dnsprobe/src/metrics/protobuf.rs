//! Metrics as protobuf: `io.prometheus.client.MetricFamily` (`metrics.proto` of
//! prometheus/client_model), one after the other, each behind its length. The only
//! format in which Prometheus takes native histograms.

use prost::Message;

use super::family::{Family, Kind, Label};
use crate::stats::{BOUNDS_SECONDS, Buckets, SCHEMA};

/// Values up to this are in the bucket of zero, as the client libraries have it; that
/// it is there tells that the histogram is a native one.
const ZERO_SECONDS: f64 = 2.938_735_877_055_719e-39;

/// Numbers of `MetricType`.
mod kind {
    pub(super) const COUNTER: i32 = 0;
    pub(super) const GAUGE: i32 = 1;
    pub(super) const HISTOGRAM: i32 = 4;
}

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Value>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Value>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// `Gauge` and `Counter`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Value {
    #[prost(double, tag = "1")]
    value: f64,
}

/// Both kinds in one, so that who knows no native ones has the classic.
#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "2")]
    sum: f64,
    #[prost(message, repeated, tag = "3")]
    buckets: Vec<Bucket>,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(message, repeated, tag = "12")]
    spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "13")]
    deltas: Vec<i64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    cumulative_count: u64,
    #[prost(double, tag = "2")]
    upper_bound: f64,
}

/// Buckets side by side.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Span {
    /// From the end of the span before; of the first one: its number.
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

/// Families that are written, and the one that grows.
#[derive(Debug, Default)]
pub(super) struct Families {
    done: Vec<u8>,
    open: Option<(Family, MetricFamily)>,
}

impl Families {
    /// One series of a counter or gauge.
    pub(super) fn add(&mut self, family: Family, labels: &[(Label, &str)], value: f64) {
        let mut metric = Metric { labels: pairs(labels), ..Metric::default() };
        match family.kind() {
            Kind::Counter => metric.counter = Some(Value { value }),
            Kind::Gauge | Kind::Info | Kind::Histogram => metric.gauge = Some(Value { value }),
        }
        self.family(family).metrics.push(metric);
    }

    /// One series of a histogram.
    pub(super) fn add_histogram(
        &mut self,
        family: Family,
        labels: &[(Label, &str)],
        values: &Buckets,
    ) {
        let mut cumulative_count = 0;
        let bounded = values.counts.iter().zip(BOUNDS_SECONDS).map(|(count, upper_bound)| {
            cumulative_count += count;
            Bucket { cumulative_count, upper_bound }
        });
        let (spans, deltas) = side_by_side(values.exponential.filled());
        let histogram = Histogram {
            count: values.count(),
            sum: values.sum_seconds,
            buckets: bounded.collect(),
            schema: SCHEMA,
            zero_threshold: ZERO_SECONDS,
            spans,
            deltas,
        };
        let metric =
            Metric { labels: pairs(labels), histogram: Some(histogram), ..Metric::default() };
        self.family(family).metrics.push(metric);
    }

    /// Everything.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.close();
        self.done
    }

    fn family(&mut self, family: Family) -> &mut MetricFamily {
        if self.open.as_ref().is_none_or(|(open, _)| *open != family) {
            self.close();
        }
        let begin = || {
            let (suffix, kind) = match family.kind() {
                Kind::Counter => ("_total", kind::COUNTER),
                Kind::Gauge | Kind::Info => ("", kind::GAUGE),
                Kind::Histogram => ("", kind::HISTOGRAM),
            };
            let (name, help) = (format!("{}{suffix}", family.name()), family.help().to_owned());
            (family, MetricFamily { name, help, kind, metrics: Vec::new() })
        };
        &mut self.open.get_or_insert_with(begin).1
    }

    fn close(&mut self) {
        if let Some((_, family)) = self.open.take() {
            self.done.extend(family.encode_length_delimited_to_vec());
        }
    }
}

fn pairs(labels: &[(Label, &str)]) -> Vec<LabelPair> {
    let pair = |(label, value): &(Label, &str)| LabelPair {
        name: label.as_str().to_owned(),
        value: super::page::printable(value),
    };
    labels.iter().map(pair).collect()
}

/// Buckets as spans without gaps, and each count as what it is more than the one before.
fn side_by_side(filled: impl Iterator<Item = (i32, u64)>) -> (Vec<Span>, Vec<i64>) {
    let (mut spans, mut deltas): (Vec<Span>, Vec<i64>) = (Vec::new(), Vec::new());
    let (mut end, mut before) = (0, 0);
    for (place, count) in filled {
        match spans.last_mut() {
            Some(span) if place == end => span.length += 1,
            _ => spans.push(Span { offset: place - end, length: 1 }),
        }
        deltas.push(count.cast_signed() - before);
        (end, before) = (place + 1, count.cast_signed());
    }
    (spans, deltas)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(mut bytes: &[u8]) -> Vec<MetricFamily> {
        let mut families = Vec::new();
        while !bytes.is_empty() {
            families.push(MetricFamily::decode_length_delimited(&mut bytes).unwrap());
        }
        families
    }

    #[test]
    fn each_family_is_one_message_with_its_series() {
        let mut families = Families::default();
        families.add(Family::Queries, &[(Label::Unit, "a\x1b[2J")], 1.0);
        families.add(Family::Queries, &[(Label::Unit, "b")], 2.0);
        families.add(Family::ProcessMemory, &[], 4096.0);
        families.add_histogram(Family::Latency, &[], &Buckets::default());
        let told = decode(&families.finish());
        let names: Vec<_> = told.iter().map(|family| (&*family.name, family.kind)).collect();
        assert_eq!(
            names,
            [
                ("dnsprobe_queries_total", kind::COUNTER),
                ("process_resident_memory_bytes", kind::GAUGE),
                ("dnsprobe_latency_seconds", kind::HISTOGRAM),
            ]
        );
        let values: Vec<_> =
            told[0].metrics.iter().map(|metric| metric.counter.unwrap().value).collect();
        assert_eq!(values, [1.0, 2.0]);
        assert_eq!(told[0].metrics[0].labels[0].value, r"a\u{1b}[2J");
        assert_eq!(told[1].metrics[0].gauge.unwrap().value, 4096.0);
        let empty = told[2].metrics[0].histogram.clone().unwrap();
        assert!(empty.zero_threshold > 0.0, "else Prometheus takes it for a classic one");
    }

    #[test]
    fn buckets_side_by_side_are_one_span() {
        let filled = [(-48, 3), (-47, 5), (-40, 1), (2, 1)];
        let (spans, deltas) = side_by_side(filled.into_iter());
        let told: Vec<_> = spans.iter().map(|span| (span.offset, span.length)).collect();
        assert_eq!(told, [(-48, 2), (6, 1), (41, 1)]);
        assert_eq!(deltas, [3, 2, -4, 0]);
    }
}
