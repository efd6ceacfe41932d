//! The rules, the scrape configuration and the dashboards: with promtool where it can
//! tell, and against the catalogue of metrics, which promtool does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::catalogue::Catalogue;
use super::{Finding, dashboards, queries};
use crate::shell;
use crate::workspace::Workspace;

const DIRECTORY: &str = "deploy/prometheus";
const RULES: &str = "dnsprobe.rules.yaml";
const TEST: &str = "dnsprobe.test.yaml";
const SCRAPE: &str = "scrape.yaml";

#[derive(Debug, Deserialize)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct Rule {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct TestFile {
    tests: Vec<Test>,
}

#[derive(Debug, Deserialize)]
struct Test {
    name: String,
    alert_rule_test: Vec<AlertTest>,
}

#[derive(Debug, Deserialize)]
struct AlertTest {
    alertname: String,
    exp_alerts: Vec<yaml_serde::Value>,
}

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let read = |name: &str| {
        let path = workspace.root().join(DIRECTORY).join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let rules: RuleFile = yaml_serde::from_str(&read(RULES)?)?;
    let tests: TestFile = yaml_serde::from_str(&read(TEST)?)?;
    let metrics = fs::read_to_string(workspace.root().join("docs/metrics.md"))?;
    let mut catalogue = Catalogue::parse(&metrics)?;
    let mut findings = vec![
        Finding::of("promtool check rules", promtool(workspace, &["check", "rules", RULES])),
        Finding::of("promtool test rules", promtool(workspace, &["test", "rules", TEST])),
        Finding::of("every alert has its tests", tested(&rules, &tests)),
        Finding::of("the scrape configuration", scrape(workspace, &read(SCRAPE)?)),
    ];
    for dashboard in dashboards::all() {
        // Before the rules are known: a dashboard works without them.
        findings.push(Finding::of(
            format!("queries of {}", dashboard.path()),
            panels(&dashboard, &catalogue),
        ));
    }
    let rules = rules.groups.iter().flat_map(|group| &group.rules);
    let wrong: Vec<String> = rules
        .filter_map(|rule| known(rule, &mut catalogue).err().map(|e| format!("{e:#}")))
        .collect();
    let result = if wrong.is_empty() { Ok(()) } else { Err(anyhow::anyhow!(wrong.join("; "))) };
    findings.push(Finding::of("metrics and labels of the rules", result));
    Ok(findings)
}

fn promtool(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("promtool");
    shell::output(command.args(arguments).current_dir(workspace.root().join(DIRECTORY)))
        .map(drop)
        .context("`cargo xtask setup` installs promtool")
}

/// Each alert fires in some test, and is asked for in the healthy one and does not.
fn tested(rules: &RuleFile, tests: &TestFile) -> Result<()> {
    for name in rules.groups.iter().flat_map(|g| &g.rules).filter_map(|r| r.alert.as_deref()) {
        let asked = |test: &&AlertTest| test.alertname == name;
        let fires = tests
            .tests
            .iter()
            .flat_map(|test| test.alert_rule_test.iter().filter(asked))
            .any(|test| !test.exp_alerts.is_empty());
        ensure!(fires, "{name} fires in no test");
        let healthy = tests.tests.iter().filter(|test| test.name == "healthy");
        let silent = healthy
            .flat_map(|test| test.alert_rule_test.iter().filter(asked))
            .any(|test| test.exp_alerts.is_empty());
        ensure!(silent, "{name} is not asked for in the healthy test");
    }
    Ok(())
}

/// Metrics and labels of a rule are there; what it records is there for later ones.
fn known(rule: &Rule, catalogue: &mut Catalogue) -> Result<()> {
    let name = rule.record.as_deref().or(rule.alert.as_deref()).context("a rule without name")?;
    let labels = queries::labels(&rule.expr, catalogue).with_context(|| name.to_owned())?;
    for text in rule.annotations.values() {
        for label in queries::named_in(text, "$labels.") {
            ensure!(labels.contains(label), "{name}: its result has no label {label}");
        }
    }
    if let Some(record) = &rule.record {
        catalogue.add(record, labels);
    }
    Ok(())
}

/// Metrics and labels of a dashboard are there.
fn panels(dashboard: &dashboards::Dashboard, catalogue: &Catalogue) -> Result<()> {
    for (title, query) in dashboard.queries() {
        let labels = queries::labels(&query.expression, catalogue).context(title)?;
        for label in queries::named_in(query.legend, "{{") {
            ensure!(labels.contains(label), "{title}: its result has no label {label}");
        }
    }
    for (from, label) in dashboard.variables() {
        let labels = queries::labels(&from, catalogue)?;
        ensure!(labels.contains(label), "{from} has no label {label}");
    }
    Ok(())
}

/// Debian's Prometheus is built without Kubernetes' service discovery. So the pods are
/// given by hand, with the labels that it gives them, and the rest has to make the
/// right target of them.
fn scrape(workspace: &Workspace, text: &str) -> Result<()> {
    const DISCOVERY: &str = "    kubernetes_sd_configs:\n      - role: pod\n";
    const POD: &str = "    static_configs:
      - targets: ['192.0.2.7:1234', '[2001:db8::7]:1234', '192.0.2.8']
        labels:
          __meta_kubernetes_pod_label_app_kubernetes_io_name: dnsprobe
          __meta_kubernetes_pod_annotation_prometheus_io_scrape: 'true'
          __meta_kubernetes_pod_annotation_prometheus_io_port: '9353'
          __meta_kubernetes_pod_node_name: node-7
      - targets: ['192.0.2.9:53']
        labels:
          __meta_kubernetes_pod_label_app_kubernetes_io_name: coredns
          __meta_kubernetes_pod_annotation_prometheus_io_scrape: 'true'
          __meta_kubernetes_pod_annotation_prometheus_io_port: '9153'
";
    ensure!(text.contains(DISCOVERY), "it does not discover pods");
    let directory = workspace.target().join("deploy");
    fs::create_dir_all(&directory)?;
    let rules = workspace.root().join(DIRECTORY).join(RULES);
    fs::copy(rules, directory.join(RULES))?;
    let file = directory.join(SCRAPE);
    fs::write(&file, text.replace(DISCOVERY, POD))?;
    let output = shell::output(
        // It always waits as long as that, in case more is discovered.
        Command::new("promtool")
            .args(["check", "service-discovery", "--timeout=1s"])
            .arg(&file)
            .arg("dnsprobe"),
    )?;
    let found: Vec<Discovered> = serde_json::from_str(&output).context("promtool's answer")?;
    let targets: BTreeSet<(&str, &str)> = found
        .iter()
        .filter_map(|target| Some((target.labels.get("__address__")?, target)))
        .map(|(address, target)| {
            (address.as_str(), target.labels.get("instance").map_or("", String::as_str))
        })
        .collect();
    let wanted = BTreeSet::from([
        ("192.0.2.7:9353", "node-7"),
        ("[2001:db8::7]:9353", "node-7"),
        ("192.0.2.8:9353", "node-7"),
    ]);
    if targets != wanted {
        bail!("the targets are {targets:?}, not {wanted:?}");
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Discovered {
    #[serde(default)]
    labels: BTreeMap<String, String>,
}
