//! Writes metrics as Prometheus' text format (0.0.4), OpenMetrics (1.0), or protobuf
//! with native histograms.

use std::fmt::Write as _;
use std::sync::LazyLock;

use super::{
    family::{Family, Kind, Label},
    protobuf::Families,
};
use crate::stats::{BOUNDS_SECONDS, Buckets};

/// The message that Prometheus takes as protobuf.
const MESSAGE: &str = "io.prometheus.client.MetricFamily";

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4.
    Text,
    /// OpenMetrics, version 1.0.
    OpenMetrics,
    /// Prometheus' protobuf, with native histograms.
    Protobuf,
}

impl Format {
    /// What a client wants most that sent this `Accept` header.
    #[must_use]
    pub fn wanted(accept: &str) -> Self {
        let mut wanted = (0.0, Self::Text);
        for offer in accept.split(',') {
            let mut parts = offer.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let parameters: Vec<(&str, &str)> =
                parts.filter_map(|part| part.split_once('=')).collect();
            let parameter =
                |name| parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
            let format = match media {
                "application/openmetrics-text" => Self::OpenMetrics,
                "application/vnd.google.protobuf"
                    if parameter("proto") == Some(MESSAGE)
                        && parameter("encoding") == Some("delimited") =>
                {
                    Self::Protobuf
                }
                "text/plain" => Self::Text,
                _ => continue,
            };
            let quality = parameter("q").map_or(1.0, |q| q.parse().unwrap_or(0.0));
            // The first of equals.
            if quality > wanted.0 {
                wanted = (quality, format);
            }
        }
        wanted.1
    }

    /// Its media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
        }
    }
}

/// A page of metrics that grows.
#[derive(Debug)]
pub struct Page(Body);

#[derive(Debug)]
enum Body {
    Text(Text),
    Protobuf(Families),
}

/// Lines of either text format.
#[derive(Debug)]
struct Text {
    is_open: bool,
    text: String,
    family: Option<Family>,
    /// Those of the series that is being written: a histogram needs them for each of
    /// its lines.
    labels: String,
}

impl Page {
    /// An empty page.
    #[must_use]
    pub fn new(format: Format) -> Self {
        let is_open = format == Format::OpenMetrics;
        Self(match format {
            Format::Protobuf => Body::Protobuf(Families::default()),
            Format::Text | Format::OpenMetrics => {
                let (text, labels) = (String::new(), String::new());
                Body::Text(Text { is_open, text, family: None, labels })
            }
        })
    }

    /// One series of a family. All of a family come one after the other.
    pub fn add(&mut self, family: Family, labels: &[(Label, &str)], value: f64) {
        match &mut self.0 {
            Body::Text(text) => text.add(family, labels, value),
            Body::Protobuf(families) => families.add(family, labels, value),
        }
    }

    /// The same of a histogram.
    pub fn add_histogram(&mut self, family: Family, labels: &[(Label, &str)], values: &Buckets) {
        match &mut self.0 {
            Body::Text(text) => text.add_histogram(family, labels, values),
            Body::Protobuf(families) => families.add_histogram(family, labels, values),
        }
    }

    /// The whole page.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        match self.0 {
            Body::Text(Text { is_open, mut text, .. }) => {
                if is_open {
                    text.push_str("# EOF\n");
                }
                text.into_bytes()
            }
            Body::Protobuf(families) => families.finish(),
        }
    }
}

impl Text {
    fn add(&mut self, family: Family, labels: &[(Label, &str)], value: f64) {
        self.begin(family);
        self.label(labels);
        let suffix = if family.kind() == Kind::Counter { "_total" } else { "" };
        self.sample(family, suffix, None, value);
    }

    fn add_histogram(&mut self, family: Family, labels: &[(Label, &str)], values: &Buckets) {
        self.begin(family);
        self.label(labels);
        let mut below = 0;
        for (count, bound) in values.counts.iter().zip(&*BOUNDS) {
            below += count;
            self.sample(family, "_bucket", Some(bound), below as f64);
        }
        let count = values.count() as f64;
        self.sample(family, "_bucket", Some("+Inf"), count);
        self.sample(family, "_sum", None, values.sum_seconds);
        self.sample(family, "_count", None, count);
    }

    fn begin(&mut self, family: Family) {
        if self.family == Some(family) {
            return;
        }
        self.family = Some(family);
        let name = family.name();
        // The text format types samples, OpenMetrics families.
        let (suffix, kind) = match (family.kind(), self.is_open) {
            (Kind::Counter, false) => ("_total", "counter"),
            (Kind::Counter, true) => ("", "counter"),
            // OpenMetrics has a type of its own, whose samples end in `_info`; as a
            // gauge it is the same series in both.
            (Kind::Gauge | Kind::Info, _) => ("", "gauge"),
            (Kind::Histogram, _) => ("", "histogram"),
        };
        let _ = writeln!(self.text, "# HELP {name}{suffix} {}", family.help());
        let _ = writeln!(self.text, "# TYPE {name}{suffix} {kind}");
        let unit = ["seconds", "bytes"]
            .into_iter()
            .find(|unit| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')));
        if let (true, Some(unit)) = (self.is_open, unit) {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
    }

    /// Takes the labels of the next samples.
    fn label(&mut self, labels: &[(Label, &str)]) {
        self.labels.clear();
        for (label, value) in labels {
            if !self.labels.is_empty() {
                self.labels.push(',');
            }
            self.labels.push_str(label.as_str());
            self.labels.push_str("=\"");
            escape(&mut self.labels, value);
            self.labels.push('"');
        }
    }

    fn sample(&mut self, family: Family, suffix: &str, le: Option<&str>, value: f64) {
        let Self { text, labels, .. } = self;
        text.push_str(family.name());
        text.push_str(suffix);
        if le.is_some() || !labels.is_empty() {
            text.push('{');
            text.push_str(labels);
            if let Some(bound) = le {
                if !labels.is_empty() {
                    text.push(',');
                }
                for part in [Label::Le.as_str(), "=\"", bound, "\""] {
                    text.push_str(part);
                }
            }
            text.push('}');
        }
        text.push(' ');
        write_number(text, value);
        text.push('\n');
    }
}

/// The upper bounds of the buckets as both text formats want them.
static BOUNDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let text = |bound| {
        let mut text = String::new();
        write_number(&mut text, bound);
        text
    };
    BOUNDS_SECONDS.into_iter().map(text).collect()
});

/// Writes a number as both text formats want it. Most are counts, and these are
/// written several times as fast as what may have a fraction.
fn write_number(text: &mut String, value: f64) {
    /// Up to here every whole number is a number of its own.
    const WHOLE: f64 = 9_007_199_254_740_992.0;
    let _ = match value {
        f64::INFINITY => text.write_str("+Inf"),
        whole if whole.fract() == 0.0 && (0.0..WHOLE).contains(&whole) => {
            write!(text, "{}", whole as u64)
        }
        other => write!(text, "{other}"),
    };
}

/// A label's value with every control character, which no format forbids and no
/// terminal wants, as its escape.
pub(super) fn printable(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            other if other.is_control() && other != '\n' => {
                let _ = write!(text, "\\u{{{:x}}}", u32::from(other));
            }
            other => text.push(other),
        }
    }
    text
}

/// Writes a label's value so that it ends where it should.
fn escape(text: &mut String, value: &str) {
    // Nearly every name is made of these alone.
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    if value.bytes().all(plain) {
        text.push_str(value);
        return;
    }
    for character in printable(value).chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(page: Page) -> String {
        String::from_utf8(page.finish()).unwrap()
    }

    #[test]
    fn a_counter_ends_in_total_in_both_formats() {
        let page = |format| {
            let mut page = Page::new(format);
            page.add(Family::LostEvents, &[], 3.0);
            page.add(Family::ProcessMemory, &[], 4096.0);
            text(page)
        };
        assert_eq!(
            page(Format::Text),
            "# HELP dnsprobe_lost_events_total Events lost to a full ring buffer.\n\
             # TYPE dnsprobe_lost_events_total counter\n\
             dnsprobe_lost_events_total 3\n\
             # HELP process_resident_memory_bytes Resident memory of dnsprobe, with its kernel tables.\n\
             # TYPE process_resident_memory_bytes gauge\n\
             process_resident_memory_bytes 4096\n"
        );
        assert_eq!(
            page(Format::OpenMetrics),
            "# HELP dnsprobe_lost_events Events lost to a full ring buffer.\n\
             # TYPE dnsprobe_lost_events counter\n\
             dnsprobe_lost_events_total 3\n\
             # HELP process_resident_memory_bytes Resident memory of dnsprobe, with its kernel tables.\n\
             # TYPE process_resident_memory_bytes gauge\n\
             # UNIT process_resident_memory_bytes bytes\n\
             process_resident_memory_bytes 4096\n\
             # EOF\n"
        );
    }

    #[test]
    fn a_histogram_adds_up_from_bucket_to_bucket() {
        let mut values = Buckets { sum_seconds: 1.25, ..Buckets::default() };
        values.counts[0] = 2;
        values.counts[21] = 1;
        let mut page = Page::new(Format::Text);
        page.add_histogram(Family::Latency, &[(Label::Role, "client")], &values);
        let text = text(page);
        let has = |line: &str| assert!(text.lines().any(|own| own == line), "{line}\n{text}");
        has("dnsprobe_latency_seconds_bucket{role=\"client\",le=\"0.0001\"} 2");
        has("dnsprobe_latency_seconds_bucket{role=\"client\",le=\"30\"} 2");
        has("dnsprobe_latency_seconds_bucket{role=\"client\",le=\"+Inf\"} 3");
        has("dnsprobe_latency_seconds_sum{role=\"client\"} 1.25");
        has("dnsprobe_latency_seconds_count{role=\"client\"} 3");
    }

    #[test]
    fn numbers_are_short_and_exact() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (3.0, "3"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e300, &format!("{}", 1e300)),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            let mut text = String::new();
            write_number(&mut text, value);
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn who_asks_for_openmetrics_gets_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2";
        assert_eq!(Format::wanted(prometheus), Format::OpenMetrics);
        assert_eq!(Format::wanted("text/plain"), Format::Text);
        assert_eq!(Format::wanted(""), Format::Text);
        assert_eq!(Format::wanted("*/*;q=0.1, text/html"), Format::Text);
    }

    #[test]
    fn who_asks_for_native_histograms_gets_protobuf() {
        let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
                      encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,\
                      text/plain;version=0.0.4;q=0.7,*/*;q=0.1";
        assert_eq!(Format::wanted(native), Format::Protobuf);
        assert_eq!(Format::wanted(&native.replace("delimited", "text")), Format::OpenMetrics);
        let less = native.replace("delimited", "delimited;q=0.1");
        assert_eq!(Format::wanted(&less), Format::OpenMetrics);
    }

    proptest! {
        #[test]
        fn no_label_breaks_out_of_its_line(value in any::<String>()) {
            let mut page = Page::new(Format::Text);
            page.add(Family::Queries, &[(Label::Unit, &value)], 1.0);
            let text = text(page);
            prop_assert_eq!(text.lines().count(), 3);
            let line = text.lines().last().unwrap();
            let inner = line.strip_prefix("dnsprobe_queries_total{unit=\"").unwrap();
            let inner = inner.strip_suffix("\"} 1").unwrap();
            let mut back = String::new();
            let mut characters = inner.chars();
            while let Some(character) = characters.next() {
                prop_assert!(character != '"' && !character.is_control());
                back.push(if character == '\\' { characters.next().unwrap() } else { character });
            }
        }
    }
}
