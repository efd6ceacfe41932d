//! The jobs of this repository: `cargo xtask VERB`.
//!
//! One module per verb, each with its `Args` and a `run`. No product logic:
//! xtask does not depend on the dnsprobe crate, because that crate is built
//! from the kernel programs which xtask compiles.

mod accuracy;
mod attribution;
mod bench;
mod build;
mod demo;
mod deploy;
mod docs;
mod evidence;
mod lab_guest;
mod long_recording;
mod measurement;
mod package;
mod progress;
mod setup;
mod shell;
mod soak;
mod source;
mod tally;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "The jobs of the dnsprobe repository: set-up, build, lab guest, demo, tests, pages",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Setup(setup::Args),
    Build(build::Args),
    Vm(vm::Args),
    Demo(demo::Args),
    Test(test::Args),
    Accuracy(accuracy::Args),
    Attribution(attribution::Args),
    Bench(bench::Args),
    Evidence(evidence::Args),
    LongRecording(long_recording::Args),
    Soak(soak::Args),
    Docs(docs::Args),
    Deploy(deploy::Args),
    Package(package::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run(&cli.verb).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(verb: &Verb) -> Result<ExitCode> {
    let workspace = Workspace::locate()?;
    match verb {
        Verb::Setup(args) => setup::run(args, &workspace),
        Verb::Build(args) => build::run(args, &workspace),
        Verb::Vm(args) => vm::run(args, &workspace),
        Verb::Demo(args) => demo::run(args, &workspace),
        Verb::Test(args) => test::run(args, &workspace),
        Verb::Accuracy(args) => accuracy::run(args, &workspace),
        Verb::Attribution(args) => attribution::run(args, &workspace),
        Verb::Bench(args) => bench::run(args, &workspace),
        Verb::Evidence(args) => evidence::run(args, &workspace),
        Verb::LongRecording(args) => long_recording::run(args, &workspace),
        Verb::Soak(args) => soak::run(args, &workspace),
        Verb::Docs(args) => docs::run(args, &workspace),
        Verb::Deploy(args) => deploy::run(args, &workspace),
        Verb::Package(args) => package::run(args, &workspace),
    }
}
