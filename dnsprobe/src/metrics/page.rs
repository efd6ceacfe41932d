//! Writes metrics as Prometheus' text format (0.0.4) or OpenMetrics (1.0).

use std::fmt::Write as _;

use super::family::{Family, Kind, Label};
use crate::stats::{BOUNDS_SECONDS, Buckets};

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4.
    Text,
    /// OpenMetrics, version 1.0.
    OpenMetrics,
}

impl Format {
    /// What a client wants to have that sent this `Accept` header.
    #[must_use]
    pub fn wanted(accept: &str) -> Self {
        let is_open = |media: &str| {
            media.split(';').next().map(str::trim) == Some("application/openmetrics-text")
        };
        if accept.split(',').any(is_open) { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A page of metrics that grows.
#[derive(Debug)]
pub struct Page {
    format: Format,
    text: String,
    family: Option<Family>,
}

impl Page {
    /// An empty page.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, text: String::new(), family: None }
    }

    /// One series of a family. All of a family come one after the other.
    pub fn add(&mut self, family: Family, labels: &[(Label, &str)], value: f64) {
        self.begin(family);
        let suffix = if family.kind() == Kind::Counter { "_total" } else { "" };
        self.sample(family, suffix, labels, None, value);
    }

    /// The same of a histogram.
    pub fn add_histogram(&mut self, family: Family, labels: &[(Label, &str)], values: &Buckets) {
        self.begin(family);
        let mut below = 0;
        for (count, bound) in values.counts.iter().zip(BOUNDS_SECONDS) {
            below += count;
            self.sample(family, "_bucket", labels, Some(bound), below as f64);
        }
        let count = values.count() as f64;
        self.sample(family, "_bucket", labels, Some(f64::INFINITY), count);
        self.sample(family, "_sum", labels, None, values.sum_seconds);
        self.sample(family, "_count", labels, None, count);
    }

    /// The whole page.
    #[must_use]
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn begin(&mut self, family: Family) {
        if self.family == Some(family) {
            return;
        }
        self.family = Some(family);
        let name = family.name();
        // The text format types samples, OpenMetrics families.
        let (suffix, kind) = match (family.kind(), self.format) {
            (Kind::Counter, Format::Text) => ("_total", "counter"),
            (Kind::Counter, Format::OpenMetrics) => ("", "counter"),
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
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit) {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
    }

    fn sample(
        &mut self,
        family: Family,
        suffix: &str,
        labels: &[(Label, &str)],
        le: Option<f64>,
        value: f64,
    ) {
        self.text.push_str(family.name());
        self.text.push_str(suffix);
        let mut separator = '{';
        for (label, value) in labels {
            self.text.push(separator);
            self.text.push_str(label.as_str());
            self.text.push_str("=\"");
            escape(&mut self.text, value);
            self.text.push('"');
            separator = ',';
        }
        if let Some(bound) = le {
            self.text.push(separator);
            let _ = write!(self.text, "{}=\"{}\"", Label::Le.as_str(), Number(bound));
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {}", Number(value));
    }
}

/// A number as both formats want it.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == f64::INFINITY {
            return f.write_str("+Inf");
        }
        write!(f, "{}", self.0)
    }
}

/// Writes a label's value so that it ends where it should; a control character, which
/// no format forbids and no terminal wants, as its escape.
fn escape(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other if other.is_control() => {
                let _ = write!(text, "\\\\u{{{:x}}}", u32::from(other));
            }
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_counter_ends_in_total_in_both_formats() {
        let page = |format| {
            let mut page = Page::new(format);
            page.add(Family::LostEvents, &[], 3.0);
            page.add(Family::ProcessMemory, &[], 4096.0);
            page.finish()
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
        let text = page.finish();
        let has = |line: &str| assert!(text.lines().any(|own| own == line), "{line}\n{text}");
        has("dnsprobe_latency_seconds_bucket{role=\"client\",le=\"0.0001\"} 2");
        has("dnsprobe_latency_seconds_bucket{role=\"client\",le=\"30\"} 2");
        has("dnsprobe_latency_seconds_bucket{role=\"client\",le=\"+Inf\"} 3");
        has("dnsprobe_latency_seconds_sum{role=\"client\"} 1.25");
        has("dnsprobe_latency_seconds_count{role=\"client\"} 3");
    }

    #[test]
    fn who_asks_for_openmetrics_gets_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2";
        assert_eq!(Format::wanted(prometheus), Format::OpenMetrics);
        assert_eq!(Format::wanted("text/plain"), Format::Text);
        assert_eq!(Format::wanted(""), Format::Text);
    }

    proptest! {
        #[test]
        fn no_label_breaks_out_of_its_line(value in any::<String>()) {
            let mut page = Page::new(Format::Text);
            page.add(Family::Queries, &[(Label::Unit, &value)], 1.0);
            let text = page.finish();
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
