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

/// The system's tools that scenarios call.
const TOOLS: &[&str] = &[
    "ip",
    "tc",
    "nft",
    "conntrack",
    "ipvsadm",
    "iptables-legacy",
    "iptables-legacy-restore",
    "ip6tables-legacy-restore",
    "modprobe",
    "cat",
    "prometheus",
    "promtool",
];
/// iptables loads one of these for each match and target.
const EXTENSIONS: &str = "/usr/lib/x86_64-linux-gnu/xtables";

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
        for tool in TOOLS {
            // One that is missing is told by the scenario that needs it.
            let _ = run_quietly(Command::new(tool).arg("--version"));
        }
        read_extensions();
        Ok(())
    }
}

/// Where there are none, iptables looks elsewhere and is only slower.
fn read_extensions() {
    let files = fs::read_dir(EXTENSIONS).into_iter().flatten().filter_map(Result::ok);
    for file in files {
        let _ = fs::read(file.path());
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
