//! Which metrics there are and what labels their series have: from docs/metrics.md,
//! which `dnsprobe generate-docs` makes, and from recording rules.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

pub(super) type Labels = BTreeSet<String>;

/// Labels that Prometheus adds to what it scrapes.
const OF_THE_SCRAPE: [&str; 2] = ["job", "instance"];

/// Series by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalogue {
    series: BTreeMap<String, Labels>,
}

impl Catalogue {
    /// Reads the table of docs/metrics.md.
    pub(super) fn parse(page: &str) -> Result<Self> {
        let mut catalogue = Self::default();
        // Prometheus' own, for each scrape.
        catalogue.add("up", with_scrape(&[]));
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        for row in rows {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let [_, name, kind, labels, ..] = cells[..] else {
                anyhow::bail!("not a row of metrics: {row}");
            };
            let labels: Vec<&str> = quoted(labels).collect();
            let name = quoted(name).next().with_context(|| format!("no name in {row}"))?;
            if kind != "histogram" {
                catalogue.add(name, with_scrape(&labels));
                continue;
            }
            for (suffix, more) in [("_sum", None), ("_count", None), ("_bucket", Some("le"))] {
                let labels: Vec<&str> = labels.iter().copied().chain(more).collect();
                catalogue.add(&format!("{name}{suffix}"), with_scrape(&labels));
            }
        }
        ensure!(catalogue.series.len() > 20, "docs/metrics.md has hardly any metric");
        Ok(catalogue)
    }

    pub(super) fn add(&mut self, name: &str, labels: Labels) {
        self.series.insert(name.to_owned(), labels);
    }

    pub(super) fn labels(&self, name: &str) -> Option<&Labels> {
        self.series.get(name)
    }
}

fn with_scrape(labels: &[&str]) -> Labels {
    labels.iter().chain(&OF_THE_SCRAPE).map(|label| (*label).to_owned()).collect()
}

/// What stands between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_metrics_is_read() {
        let page = include_str!("../../../docs/metrics.md");
        let catalogue = Catalogue::parse(page).unwrap();
        let has = |name, label: &str| catalogue.labels(name).is_some_and(|l| l.contains(label));
        assert!(has("dnsprobe_lost_queries_total", "cause"));
        assert!(has("dnsprobe_latency_seconds_bucket", "le"));
        assert!(!has("dnsprobe_latency_seconds_sum", "le"));
        assert!(has("dnsprobe_complete", "instance"));
        assert!(catalogue.labels("dnsprobe_latency_seconds").is_none());
        assert!(Catalogue::parse("nothing").is_err());
    }
}
