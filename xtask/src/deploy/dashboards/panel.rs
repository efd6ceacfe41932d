//! A panel: what it shows, and how it is drawn.

use serde_json::{Value, json};

/// Columns of a dashboard.
const COLUMNS: u32 = 24;

/// A query and what its lines are called.
#[derive(Debug)]
pub(in crate::deploy) struct Query {
    pub(in crate::deploy) expression: String,
    /// Text with `{{label}}`.
    pub(in crate::deploy) legend: &'static str,
}

/// How a panel is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One number.
    Stat,
    /// Lines over time.
    Lines,
    /// Areas on top of each other.
    Stacked,
    /// Buckets over time.
    Heatmap,
    /// Rows with the last value.
    Table,
}

/// What a value is, by Grafana's name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    Plain,
    PerSecond,
    /// 0 to 1.
    Part,
    Seconds,
    Bytes,
}

impl Unit {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "short",
            Self::PerSecond => "reqps",
            Self::Part => "percentunit",
            Self::Seconds => "s",
            Self::Bytes => "bytes",
        }
    }
}

#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: &'static str,
    about: &'static str,
    kind: Kind,
    unit: Unit,
    pub(super) queries: Vec<Query>,
}

impl Panel {
    const fn new(kind: Kind, title: &'static str, unit: Unit, about: &'static str) -> Self {
        Self { title, about, kind, unit, queries: Vec::new() }
    }

    pub(super) const fn stat(title: &'static str, unit: Unit, about: &'static str) -> Self {
        Self::new(Kind::Stat, title, unit, about)
    }

    pub(super) const fn lines(title: &'static str, unit: Unit, about: &'static str) -> Self {
        Self::new(Kind::Lines, title, unit, about)
    }

    pub(super) const fn stacked(title: &'static str, unit: Unit, about: &'static str) -> Self {
        Self::new(Kind::Stacked, title, unit, about)
    }

    pub(super) const fn heatmap(title: &'static str, about: &'static str) -> Self {
        Self::new(Kind::Heatmap, title, Unit::Seconds, about)
    }

    pub(super) const fn table(title: &'static str, unit: Unit, about: &'static str) -> Self {
        Self::new(Kind::Table, title, unit, about)
    }

    /// With one more query.
    pub(super) fn query(mut self, expression: impl Into<String>, legend: &'static str) -> Self {
        self.queries.push(Query { expression: expression.into(), legend });
        self
    }

    /// The quantiles of a histogram's rate, `by` nothing but the bucket.
    pub(super) fn quantiles(self, buckets: &str) -> Self {
        [("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99")].into_iter().fold(
            self,
            |panel, (quantile, name)| {
                let sum = format!("sum by (le) (rate({buckets}[$__rate_interval]))");
                panel.query(format!("histogram_quantile({quantile}, {sum})"), name)
            },
        )
    }

    pub(super) fn json(&self, placed: &mut Placement) -> Value {
        let (width, height) = match self.kind {
            Kind::Stat => (4, 4),
            Kind::Lines | Kind::Stacked | Kind::Heatmap | Kind::Table => (12, 8),
        };
        let (id, place) = placed.next(width, height);
        let instant = matches!(self.kind, Kind::Table);
        let format = match self.kind {
            Kind::Heatmap => "heatmap",
            Kind::Table => "table",
            Kind::Stat | Kind::Lines | Kind::Stacked => "time_series",
        };
        let targets: Vec<Value> = self
            .queries
            .iter()
            .zip('A'..)
            .map(|(query, letter)| {
                json!({
                    "refId": letter.to_string(), "datasource": datasource(),
                    "expr": query.expression, "legendFormat": query.legend,
                    "format": format, "instant": instant, "range": !instant,
                })
            })
            .collect();
        json!({
            "id": id, "gridPos": place, "type": self.type_name(), "title": self.title,
            "description": self.about, "datasource": datasource(), "targets": targets,
            "fieldConfig": { "defaults": self.field_defaults(), "overrides": [] },
            "options": self.options(),
        })
    }

    const fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Stat => "stat",
            Kind::Lines | Kind::Stacked => "timeseries",
            Kind::Heatmap => "heatmap",
            Kind::Table => "table",
        }
    }

    fn field_defaults(&self) -> Value {
        let mut defaults = json!({ "unit": self.unit.as_str(), "min": 0 });
        if self.kind == Kind::Stacked {
            defaults["custom"] =
                json!({ "fillOpacity": 60, "stacking": { "mode": "normal", "group": "A" } });
        }
        defaults
    }

    fn options(&self) -> Value {
        match self.kind {
            Kind::Stat => json!({ "reduceOptions": { "calcs": ["lastNotNull"] } }),
            Kind::Lines | Kind::Stacked => json!({
                "legend": { "displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull"] },
                "tooltip": { "mode": "multi", "sort": "desc" },
            }),
            Kind::Heatmap => json!({
                "calculate": false, "yAxis": { "unit": "s" },
                "color": { "mode": "scheme", "scheme": "Oranges", "steps": 64 },
            }),
            Kind::Table => {
                json!({ "showHeader": true, "sortBy": [{ "displayName": "Value", "desc": true }] })
            }
        }
    }
}

/// Grafana's own name for what was chosen.
pub(super) fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// Panels from left to right, in rows.
#[derive(Debug, Default)]
pub(super) struct Placement {
    id: u32,
    x: u32,
    y: u32,
    row_height: u32,
}

impl Placement {
    /// The next panel's number and place.
    fn next(&mut self, width: u32, height: u32) -> (u32, Value) {
        if self.x + width > COLUMNS || (self.x > 0 && height != self.row_height) {
            self.x = 0;
            self.y += self.row_height;
        }
        let place = json!({ "x": self.x, "y": self.y, "w": width, "h": height });
        self.x += width;
        self.row_height = height;
        self.id += 1;
        (self.id, place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_fill_rows_and_never_overlap() {
        let mut placed = Placement::default();
        let mut at = |width, height| placed.next(width, height).1;
        assert_eq!(at(4, 4), json!({ "x": 0, "y": 0, "w": 4, "h": 4 }));
        assert_eq!(at(4, 4), json!({ "x": 4, "y": 0, "w": 4, "h": 4 }));
        assert_eq!(at(12, 8), json!({ "x": 0, "y": 4, "w": 12, "h": 8 }));
        assert_eq!(at(12, 8), json!({ "x": 12, "y": 4, "w": 12, "h": 8 }));
        assert_eq!(at(12, 8), json!({ "x": 0, "y": 12, "w": 12, "h": 8 }));
    }
}
