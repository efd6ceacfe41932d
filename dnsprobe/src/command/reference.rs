//! `dnsprobe generate-docs`: the pages of `docs/` that are made from the code,
//! so that they cannot say anything else than the program.

use std::{fmt::Write as _, io::Write as _};

use clap::{Args, CommandFactory, ValueEnum};

use super::{Cli, EXIT_OK};
use crate::{engine::Cause, findings, kernel, messages, metrics};

#[derive(Clone, Debug, Args)]
pub(super) struct Options {
    page: Page,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Page {
    Cli,
    Causes,
    Findings,
    Hooks,
    Messages,
    Metrics,
}

pub(super) fn run(options: &Options) -> anyhow::Result<u8> {
    let text = match options.page {
        Page::Cli => cli(),
        Page::Causes => causes(),
        Page::Findings => findings::reference(),
        Page::Hooks => kernel::reference(),
        Page::Messages => messages::reference(),
        Page::Metrics => metrics::reference(),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(EXIT_OK)
}

/// Help texts of every command.
fn cli() -> String {
    let mut text = String::from("# Command line\n\nMade by `cargo xtask docs`.\n");
    let mut command = Cli::command().term_width(80);
    command.build();
    let mut section = |command: &mut clap::Command| {
        let help = command.render_long_help();
        let _ = write!(
            text,
            "\n## {}\n\n```text\n{help}```\n",
            command.get_bin_name().unwrap_or("dnsprobe")
        );
    };
    section(&mut command);
    for sub in command.get_subcommands_mut() {
        if !sub.is_hide_set() && sub.get_name() != "help" {
            section(sub);
        }
    }
    text
}

/// Every cause, its meaning and its remedy.
fn causes() -> String {
    let mut text = String::from(
        "# Causes\n\nMade by `cargo xtask docs`. One lost query gets exactly one of these.\n",
    );
    for cause in Cause::ALL {
        let kind = if cause.is_loss() { "a lost query" } else { "a near miss, nothing is lost" };
        let _ = write!(
            text,
            "\n## {cause}\n\nNumber {}, {kind}.\n\n{}\n\n**What to do.** {}\n",
            cause as u16,
            cause.describe(),
            cause.advice()
        );
    }
    text
}
