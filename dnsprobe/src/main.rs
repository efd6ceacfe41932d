//! The `dnsprobe` command line.

use std::process::ExitCode;

use clap::Parser;
use dnsprobe::command::Cli;

fn main() -> ExitCode {
    dnsprobe::command::run(&Cli::parse())
}
