//! Manual pages and shell completions, made from the command line's own definition:
//! `cargo run -p dnsprobe --example reference -- DIRECTORY`. An example, because the
//! program itself should not carry what writes them.

use std::{env, fs, path::PathBuf};

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use dnsprobe::command::Cli;

fn main() -> anyhow::Result<()> {
    let directory = env::args_os().nth(1).context("give the directory to write into")?;
    let directory = PathBuf::from(directory);
    let (pages, completions) = (directory.join("man"), directory.join("completions"));
    fs::create_dir_all(&pages)?;
    fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(Cli::command(), &pages)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "dnsprobe", &completions)?;
    }
    Ok(())
}
