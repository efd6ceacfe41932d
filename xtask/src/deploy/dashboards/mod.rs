//! The Grafana dashboards: panels as data, written as the JSON that Grafana imports.

mod cluster;
mod node;
mod panel;
mod pod;

use serde_json::{Value, json};

use panel::Panel;

/// A dashboard.
pub(super) struct Dashboard {
    /// Below `deploy/grafana`; also its id in Grafana.
    pub(super) name: &'static str,
    title: &'static str,
    about: &'static str,
    /// Labels that one chooses by, the outermost first.
    chosen_by: &'static [Variable],
    panels: Vec<Panel>,
}

/// What is chosen at the top of a dashboard. Its values come from `metric`.
#[derive(Debug, Clone, Copy)]
struct Variable {
    label: &'static str,
    metric: &'static str,
}

impl Variable {
    const fn new(label: &'static str, metric: &'static str) -> Self {
        Self { label, metric }
    }

    /// Selects by the variables before it.
    fn query(self, before: &[Self]) -> String {
        let chosen: Vec<String> =
            before.iter().map(|v| format!("{0}=~\"${0}\"", v.label)).collect();
        format!("{}{{{}}}", self.metric, chosen.join(","))
    }
}

/// Every dashboard.
pub(super) fn all() -> [Dashboard; 3] {
    [cluster::dashboard(), node::dashboard(), pod::dashboard()]
}

impl Dashboard {
    pub(super) fn path(&self) -> String {
        format!("deploy/grafana/{}.json", self.name)
    }

    /// Queries with the labels that their legends name.
    pub(super) fn queries(&self) -> impl Iterator<Item = (&'static str, &panel::Query)> {
        self.panels.iter().flat_map(|p| p.queries.iter().map(move |query| (p.title, query)))
    }

    /// What the values of the variables come from, and the label they are of.
    pub(super) fn variables(&self) -> impl Iterator<Item = (String, &'static str)> {
        self.chosen_by
            .iter()
            .enumerate()
            .map(|(index, v)| (v.query(&self.chosen_by[..index]), v.label))
    }

    pub(super) fn json(&self) -> String {
        let mut placed = panel::Placement::default();
        let panels: Vec<Value> = self.panels.iter().map(|panel| panel.json(&mut placed)).collect();
        let dashboard = json!({
            "uid": self.name,
            "title": self.title,
            "description": self.about,
            "tags": ["dns", "dnsprobe"],
            "schemaVersion": 39,
            "editable": true,
            "refresh": "30s",
            "time": { "from": "now-1h", "to": "now" },
            "timezone": "utc",
            "links": [{
                "type": "dashboards", "tags": ["dnsprobe"], "title": "dnsprobe",
                "asDropdown": true, "keepTime": true, "includeVars": true,
            }],
            "templating": { "list": self.variables_json() },
            "panels": panels,
        });
        format!("{dashboard:#}\n")
    }

    fn variables_json(&self) -> Vec<Value> {
        let source = json!({
            "name": "datasource", "label": "Prometheus", "type": "datasource",
            "query": "prometheus",
        });
        let chosen = self.variables().map(|(from, label)| {
            let query = format!("label_values({from}, {label})");
            json!({
                "name": label, "type": "query", "datasource": panel::datasource(),
                "definition": query, "query": { "query": query, "refId": label },
                "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".*",
                "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
            })
        });
        std::iter::once(source).chain(chosen).collect()
    }
}
