//! `cargo xtask docs [--check]`: every generated page, one list.

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::CommandFactory;

use crate::workspace::Workspace;
use crate::{Cli, accuracy, attribution, bench, build, evidence, shell, soak};

/// Where a page's text comes from.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// The help of xtask itself.
    Xtask,
    /// `dnsprobe generate-docs NAME`. xtask cannot call the library: the
    /// dnsprobe crate only compiles after xtask built the kernel programs.
    Dnsprobe(&'static str),
    /// The committed data of the last whole `cargo xtask accuracy`.
    Accuracy,
    /// The committed data of the last whole `cargo xtask evidence`.
    Evidence,
    /// The committed data of the last whole `cargo xtask attribution`.
    Attribution,
    /// The committed data of the last long `cargo xtask soak`.
    Operations,
    /// The committed data of the last whole `cargo xtask bench`.
    Performance,
}

const PAGES: &[(&str, Source)] = &[
    ("docs/accuracy.md", Source::Accuracy),
    ("docs/attribution.md", Source::Attribution),
    ("docs/causes.md", Source::Dnsprobe("causes")),
    ("docs/cli.md", Source::Dnsprobe("cli")),
    ("docs/evidence.md", Source::Evidence),
    ("docs/findings.md", Source::Dnsprobe("findings")),
    ("docs/hooks.md", Source::Dnsprobe("hooks")),
    ("docs/messages.md", Source::Dnsprobe("messages")),
    ("docs/metrics.md", Source::Dnsprobe("metrics")),
    ("docs/operations.md", Source::Operations),
    ("docs/performance.md", Source::Performance),
    ("docs/xtask.md", Source::Xtask),
];

const HELP_WIDTH: usize = 90;

/// Write the generated pages, or check that they are up to date
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask docs           write every generated page
  cargo xtask docs --check   exit 1 when a committed page differs")]
pub(crate) struct Args {
    /// Write nothing; fail when a page is stale
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    if PAGES.iter().any(|(_, source)| matches!(source, Source::Dnsprobe(_))) {
        build::all(workspace, &build::Args::default())?;
    }
    if args.check {
        check(workspace)?;
        println!("{} generated pages are up to date", pages(workspace).count());
        return Ok(ExitCode::SUCCESS);
    }
    for (path, source) in pages(workspace) {
        let file = workspace.root().join(path);
        let fresh = source.text(workspace)?;
        if fs::read_to_string(&file).is_ok_and(|old| old == fresh) {
            continue;
        }
        fs::write(&file, fresh).with_context(|| format!("cannot write {path}"))?;
        println!("wrote {path}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Every page whose source is there: before the first whole run there is no
/// table of measurements.
fn pages(workspace: &Workspace) -> impl Iterator<Item = &'static (&'static str, Source)> {
    let accuracy = accuracy::MEASUREMENT.is_committed(workspace);
    let attribution = attribution::MEASUREMENT.is_committed(workspace);
    let performance = bench::MEASUREMENT.is_committed(workspace);
    let evidence = evidence::MEASUREMENT.is_committed(workspace);
    let operations = soak::MEASUREMENT.is_committed(workspace);
    PAGES.iter().filter(move |(_, source)| match source {
        Source::Accuracy => accuracy,
        Source::Attribution => attribution,
        Source::Performance => performance,
        Source::Evidence => evidence,
        Source::Operations => operations,
        Source::Xtask | Source::Dnsprobe(_) => true,
    })
}

/// An error that names each stale page and its first difference. Expects that
/// everything is built.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut stale = Vec::new();
    for (path, source) in pages(workspace) {
        let committed = fs::read_to_string(workspace.root().join(path)).unwrap_or_default();
        if let Some(difference) = first_difference(&committed, &source.text(workspace)?) {
            stale.push(format!("{path}: {difference}"));
        }
    }
    ensure!(stale.is_empty(), "stale pages, run `cargo xtask docs`:\n{}", stale.join("\n"));
    Ok(())
}

impl Source {
    fn text(self, workspace: &Workspace) -> Result<String> {
        match self {
            Self::Accuracy => accuracy::committed_page(workspace),
            Self::Evidence => evidence::committed_page(workspace),
            Self::Operations => soak::committed_page(workspace),
            Self::Attribution => attribution::committed_page(workspace),
            Self::Performance => bench::committed_page(workspace),
            Self::Xtask => Ok(xtask_page(&Cli::command())),
            Self::Dnsprobe(page) => shell::output(
                Command::new(workspace.release_binary("dnsprobe")).args(["generate-docs", page]),
            ),
        }
    }
}

fn xtask_page(command: &clap::Command) -> String {
    let mut page = String::from(
        "# cargo xtask\n\n<!-- Generated by `cargo xtask docs`; do not edit. -->\n\n\
         The jobs of this repository.\n",
    );
    for verb in command.get_subcommands() {
        let name = verb.get_name();
        let full_name = format!("cargo xtask {name}");
        // A fixed width: the page must not depend on somebody's terminal.
        let help = verb.clone().bin_name(full_name).term_width(HELP_WIDTH).render_long_help();
        page.push_str(&format!("\n## {name}\n\n```text\n"));
        for line in help.to_string().trim_end().lines() {
            page.push_str(line.trim_end());
            page.push('\n');
        }
        page.push_str("```\n");
    }
    page
}

fn first_difference(old: &str, fresh: &str) -> Option<String> {
    if old == fresh {
        return None;
    }
    if old.is_empty() {
        return Some("missing".to_owned());
    }
    let line = old.lines().zip(fresh.lines()).take_while(|(old, fresh)| old == fresh).count();
    let show = |text: &str| text.lines().nth(line).unwrap_or("(end of page)").to_owned();
    Some(format!("line {}\n  committed: {}\n  generated: {}", line + 1, show(old), show(fresh)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_first_line() {
        let difference = first_difference("a\nb\nc\n", "a\nx\nc\n").unwrap();
        assert!(difference.starts_with("line 2\n  committed: b\n  generated: x"));
        assert!(first_difference("a\n", "a\nb\n").unwrap().contains("(end of page)"));
        assert_eq!(first_difference("", "a\n").as_deref(), Some("missing"));
        assert_eq!(first_difference("a\n", "a\n"), None);
    }

    #[test]
    fn every_verb_is_on_the_page() {
        let page = xtask_page(&Cli::command());
        for verb in [
            "setup",
            "build",
            "vm",
            "demo",
            "test",
            "accuracy",
            "attribution",
            "bench",
            "evidence",
            "soak",
            "docs",
            "deploy",
            "package",
        ] {
            assert!(page.contains(&format!("\n## {verb}\n")), "{verb}");
            assert!(page.contains(&format!("Usage: cargo xtask {verb}")), "{verb}");
        }
    }
}
