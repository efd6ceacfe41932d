//! The programs the lab runs.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::server;
use crate::client::resolver::Resolver;

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The dnsprobe under test.
    pub dnsprobe: PathBuf,
    /// Directory of the compiled resolver clients.
    pub clients: PathBuf,
    /// This very binary, for its client and hold subcommands.
    pub lab: PathBuf,
}

impl Programs {
    /// Load every program and what it reads at its start once. A guest gets its
    /// files from outside, and where the clock counts instructions, waiting for
    /// a file makes any timeout run out.
    pub fn warm_up(&self) -> Result<()> {
        for path in [&self.dnsprobe, &self.lab] {
            fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        }
        run_quietly(Command::new(server::PROGRAM).arg("--version"))?;
        run_quietly(Command::new(&self.dnsprobe).arg("--version"))?;
        for resolver in Resolver::ALL {
            let path = resolver.path(&self.clients);
            run_quietly(Command::new(&path).args(["localhost", "1", "0"]))
                .context("`lab prepare` compiles the resolver clients")?;
        }
        Ok(())
    }
}

fn run_quietly(command: &mut Command) -> Result<()> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    Ok(())
}
