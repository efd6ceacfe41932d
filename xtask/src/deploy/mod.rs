//! `cargo xtask deploy [--check]`: what is generated below `deploy/`, and the checks of
//! everything there.

mod arguments;
mod catalogue;
mod dashboards;
mod kubernetes;
mod prometheus;
mod queries;
mod systemd;

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::setup::chart_tools;
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{build, package, shell};

const CHART: &str = "deploy/helm/dnsprobe";

/// Write what is generated below deploy/, or check everything that is there
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Write what is generated below deploy/, or check everything that is there.

Generated is deploy/kubernetes/dnsprobe.yaml: what Helm makes of the chart with its \
default values, and the dashboards. The checks: the chart with Helm's own library (lint, and the values in \
deploy/helm/cases) and against the schemas of Kubernetes; the manifest against what \
README says of capabilities; every command line in deploy/ with dnsprobe's own parser; \
rules, their tests and the scrape configuration with promtool; every metric and label \
in rules and dashboards against docs/metrics.md; the unit with systemd-analyze; and the \
packages, which are built, installed into a directory and removed. \
What a check needs and this machine lacks is a failure; `cargo xtask setup` installs \
it.")]
#[command(after_help = "\
Examples:
  cargo xtask deploy           write the generated files
  cargo xtask deploy --check   every check; exit 1 after any failure")]
pub(crate) struct Args {
    /// Write nothing; fail when something is stale or wrong
    #[arg(long)]
    check: bool,
}

/// A file that is made.
struct Generated {
    path: String,
    text: Result<String>,
}

fn generated(workspace: &Workspace) -> Vec<Generated> {
    let mut files = vec![Generated {
        path: kubernetes::MANIFEST.to_owned(),
        text: kubernetes::manifest(workspace),
    }];
    files
        .extend(dashboards::all().iter().map(|d| Generated { path: d.path(), text: Ok(d.json()) }));
    files
}

/// What a check found: a line per thing that holds, or an error.
type Check = fn(&Workspace) -> Result<Vec<Finding>>;

const CHECKS: &[Check] = &[
    stale,
    chart,
    kubernetes::check,
    arguments::check,
    prometheus::check,
    systemd::check,
    packages,
];

/// One thing that was looked at, and what is wrong with it.
#[derive(Debug)]
struct Finding {
    what: String,
    wrong: Option<String>,
}

impl Finding {
    fn of(what: impl Into<String>, result: Result<()>) -> Self {
        Self { what: what.into(), wrong: result.err().map(|error| format!("{error:#}")) }
    }
}

pub(crate) fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    if args.check {
        build::all(workspace, &build::Args::default())?;
        let tally = check(workspace);
        println!("{tally}");
        return Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for file in generated(workspace) {
        let path = workspace.root().join(&file.path);
        let fresh = file.text?;
        if fs::read_to_string(&path).is_ok_and(|old| old == fresh) {
            continue;
        }
        fs::write(&path, fresh).with_context(|| format!("cannot write {}", file.path))?;
        println!("wrote {}", file.path);
    }
    Ok(ExitCode::SUCCESS)
}

/// Every check, a printed line for each thing that was looked at. Expects that
/// everything is built.
pub(crate) fn check(workspace: &Workspace) -> Tally {
    let mut tally = Tally::default();
    for check in CHECKS {
        let findings = check(workspace)
            .unwrap_or_else(|error| vec![Finding::of("a check could not run", Err(error))]);
        for finding in findings {
            match finding.wrong {
                None => {
                    println!("ok    {}", finding.what);
                    tally += Tally::PASSED;
                }
                Some(wrong) => {
                    println!("FAIL  {}: {wrong}", finding.what);
                    tally += Tally::FAILED;
                }
            }
        }
    }
    tally
}

/// The generated files are what is generated.
fn stale(workspace: &Workspace) -> Result<Vec<Finding>> {
    let compare = |file: Generated| -> Result<()> {
        let committed = fs::read_to_string(workspace.root().join(&file.path)).unwrap_or_default();
        match file.text? == committed {
            true => Ok(()),
            false => bail!("is not what is generated; run `cargo xtask deploy`"),
        }
    };
    let compared = |file: Generated| Finding::of(file.path.clone(), compare(file));
    Ok(generated(workspace).into_iter().map(compared).collect())
}

/// The chart with Helm's library and the schemas of Kubernetes.
fn chart(workspace: &Workspace) -> Result<Vec<Finding>> {
    let cases = workspace.root().join("deploy/helm/cases");
    let output = chart_script(workspace, "check", cases.as_os_str())?;
    let findings: Vec<Finding> = output.lines().filter_map(finding_of_line).collect();
    // Lint, and each case.
    let expected = 1 + fs::read_dir(&cases)?
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "yaml"))
        .count();
    if findings.len() != expected {
        bail!("{} of {expected} checks of the chart were made:\n{output}", findings.len());
    }
    Ok(findings)
}

/// A line of chart.py.
fn finding_of_line(line: &str) -> Option<Finding> {
    let named = |what: &str| format!("chart: {what}");
    if let Some(what) = line.strip_prefix("ok    ") {
        return Some(Finding { what: named(what), wrong: None });
    }
    let (what, why) = line.strip_prefix("FAIL  ")?.split_once(": ")?;
    Some(Finding { what: named(what), wrong: Some(why.to_owned()) })
}

/// What is packaged.
fn packages(workspace: &Workspace) -> Result<Vec<Finding>> {
    let checked = package::check(workspace).into_iter();
    Ok(checked.map(|(what, result)| Finding::of(what, result)).collect())
}

/// Runs chart.py on the chart.
fn chart_script(workspace: &Workspace, verb: &str, argument: &std::ffi::OsStr) -> Result<String> {
    let python =
        chart_tools::find(workspace).context("Helm is not installed; run `cargo xtask setup`")?;
    shell::output(
        Command::new(python)
            .arg(workspace.root().join("xtask/src/deploy/chart.py"))
            .arg(verb)
            .arg(workspace.root().join(CHART))
            .arg(argument),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_script_are_findings() {
        let good = finding_of_line("ok    good-ipv6").unwrap();
        assert_eq!((good.what.as_str(), good.wrong), ("chart: good-ipv6", None));
        let bad = finding_of_line("FAIL  good-ipv6: 1.37: DaemonSet: no").unwrap();
        assert_eq!(bad.wrong.as_deref(), Some("1.37: DaemonSet: no"));
        assert!(finding_of_line("Traceback (most recent call last):").is_none());
    }
}
