//! A command in a guest: what goes in, what comes out, what is kept.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::qemu::{End, Listener, Machine, Processor};
use super::{initramfs, qemu};
use crate::progress::seconds;
use crate::setup::GuestKernel;
use crate::shell;
use crate::workspace::Workspace;

/// The exit codes of a run that has none of its own, as timeout(1) has them.
const CODE_TIMED_OUT: u8 = 124;
const CODE_NO_GUEST: u8 = 125;

const SESSION: &str = include_str!("guest/session.sh");
const KEPT_RUNS: usize = 8;

/// A command to run in a guest.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) kernel: GuestKernel,
    pub(crate) processors: u32,
    pub(crate) instruction_count: bool,
    pub(crate) parallel: bool,
    pub(crate) limit: Duration,
    pub(crate) copy: Vec<PathBuf>,
    pub(crate) command: Vec<String>,
    /// Set to give the command a terminal.
    pub(crate) terminal: Option<Terminal>,
    /// Where the files of `/out` go.
    pub(crate) out: PathBuf,
}

/// The size of a terminal that the command's output reaches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    rows: u16,
    columns: u16,
}

impl Terminal {
    /// Ours, when our stdout is one.
    pub(crate) fn ours() -> Option<Self> {
        if !io::stdout().is_terminal() {
            return None;
        }
        let (width, height) = terminal_size::terminal_size()?;
        Some(Self { rows: height.0, columns: width.0 })
    }
}

/// How a guest ended, and what it left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) end: End,
    pub(crate) files: Vec<PathBuf>,
    console: PathBuf,
}

impl Ended {
    pub(crate) fn code(&self) -> u8 {
        match self.end {
            End::Exited(code) => code,
            End::TimedOut => CODE_TIMED_OUT,
            End::NeverStarted | End::Died => CODE_NO_GUEST,
        }
    }

    /// Says on stderr what went wrong with the guest itself, if anything did.
    pub(crate) fn explain(&self, workspace: &Workspace, elapsed: Duration) {
        let what = match self.end {
            End::Exited(_) => return,
            End::TimedOut => "the guest was killed at the time limit",
            End::NeverStarted => "the guest did not start the command",
            End::Died => "the guest died while the command ran",
        };
        let console = fs::read(&self.console).unwrap_or_default();
        let machine = fs::read_to_string(self.console.with_file_name("qemu.log"));
        eprintln!(
            "vm: {what}, after {}; the end of its console ({}):\n{}",
            seconds(elapsed),
            workspace.relative(&self.console).display(),
            shell::tail(&String::from_utf8_lossy(&console), 40)
        );
        if let Ok(log) = machine
            && !log.trim().is_empty()
        {
            eprintln!("vm: QEMU says:\n{}", shell::tail(&log, 10));
        }
    }
}

impl Guest {
    pub(crate) fn run(&self, workspace: &Workspace, listener: Listener) -> Result<Ended> {
        let directory = new_run_directory(&state(workspace).join("runs"))?;
        let share = directory.join("share");
        self.fill_share(workspace, &share)?;
        let console = directory.join("console.log");
        let initramfs = initramfs::for_kernel(&self.kernel, &state(workspace))?;
        let machine = Machine {
            kernel: &self.kernel.image(),
            initramfs: &initramfs,
            share: &share,
            console: &console,
            processor: Processor {
                count: if self.instruction_count { 1 } else { self.processors },
                instruction_count: self.instruction_count,
                parallel: self.parallel,
            },
        };
        let end = qemu::run(&machine, self.limit, listener)?;
        let files = move_files(&share.join("out"), &self.out)?;
        fs::remove_dir_all(&share)?;
        Ok(Ended { end, files, console })
    }

    /// Writes what session.sh reads.
    fn fill_share(&self, workspace: &Workspace, share: &Path) -> Result<()> {
        for part in ["out", "lab"] {
            fs::create_dir_all(share.join(part))?;
        }
        for source in &self.copy {
            ensure!(source.exists(), "--copy {}: no such file", source.display());
            shell::output(
                Command::new("cp").arg("-R").arg("--").arg(source).arg(share.join("lab")),
            )?;
        }
        fs::write(share.join("session.sh"), SESSION)?;
        fs::write(share.join("settings.sh"), self.settings(workspace))?;
        let words: Vec<String> = self.command.iter().map(|word| shell::quote(word)).collect();
        fs::write(share.join("command.sh"), format!("set -- {}\n", words.join(" ")))?;
        Ok(())
    }

    fn settings(&self, workspace: &Workspace) -> String {
        let modules = self.kernel.modules();
        let programs = workspace.target().join("release");
        let mut text = format!(
            "MODULES={}\nPROGRAMS={}\nWAIT_FOR_TSC={}\n",
            shell::quote(&modules.to_string_lossy()),
            shell::quote(&programs.to_string_lossy()),
            u8::from(self.instruction_count),
        );
        match self.terminal {
            Some(Terminal { rows, columns }) => {
                let kind = std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned());
                text.push_str(&format!(
                    "TERMINAL=1\nLINES={rows}\nCOLUMNS={columns}\nTERM={}\n",
                    shell::quote(&kind)
                ));
            }
            None => text.push_str("TERMINAL=0\nTERM=dumb\n"),
        }
        text
    }
}

/// Consoles and initramfs files, apart from what commands leave in `/out`.
fn state(workspace: &Workspace) -> PathBuf {
    workspace.target().join("vm-state")
}

/// A fresh directory; older ones beyond a few are removed.
fn new_run_directory(root: &Path) -> Result<PathBuf> {
    fs::create_dir_all(root)?;
    let mut runs: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if let Some(number) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) {
            runs.push((number, path));
        }
    }
    runs.sort();
    for (_, old) in runs.iter().rev().skip(KEPT_RUNS) {
        fs::remove_dir_all(old).ok();
    }
    let mut number = runs.last().map_or(1, |(number, _)| number + 1);
    loop {
        let directory = root.join(number.to_string());
        match fs::create_dir(&directory) {
            Ok(()) => return Ok(directory),
            // Another guest started at the same moment.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => {
                return Err(error).with_context(|| format!("create {}", directory.display()));
            }
        }
    }
}

/// Moves everything in `from` into `to`, replacing what has the same name.
fn move_files(from: &Path, to: &Path) -> Result<Vec<PathBuf>> {
    let mut moved = Vec::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::create_dir_all(to)?;
        let destination = to.join(entry.file_name());
        match fs::symlink_metadata(&destination) {
            Ok(old) if old.is_dir() => fs::remove_dir_all(&destination)?,
            Ok(_) => fs::remove_file(&destination)?,
            Err(_) => {}
        }
        fs::rename(entry.path(), &destination)?;
        moved.push(destination);
    }
    moved.sort();
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        fs::remove_dir_all(&directory).ok();
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn files_replace_older_ones_of_the_same_name() {
        let root = scratch("move");
        let (from, to) = (root.join("from"), root.join("to"));
        fs::create_dir_all(from.join("d")).unwrap();
        fs::create_dir_all(to.join("d/old")).unwrap();
        fs::write(from.join("f"), "new").unwrap();
        fs::write(to.join("f"), "old").unwrap();
        let moved = move_files(&from, &to).unwrap();
        assert_eq!(moved, [to.join("d"), to.join("f")]);
        assert_eq!(fs::read_to_string(to.join("f")).unwrap(), "new");
        assert!(!to.join("d/old").exists());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn only_a_few_old_runs_are_kept() {
        let root = scratch("runs");
        let mut last = PathBuf::new();
        for _ in 0..KEPT_RUNS + 5 {
            last = new_run_directory(&root).unwrap();
        }
        assert_eq!(fs::read_dir(&root).unwrap().count(), KEPT_RUNS + 1);
        assert!(last.exists());
        fs::remove_dir_all(root).unwrap();
    }
}
