//! `cargo xtask vm`: run a command in a guest with a distribution kernel, on
//! this machine's own userland.

mod initramfs;
mod qemu;

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::progress::seconds;
use crate::setup::{GuestKernel, SERIES};
use crate::workspace::Workspace;
use crate::{build, shell};

pub(crate) use qemu::{End, Listener};

/// The exit codes of a run that has none of its own, as timeout(1) has them.
const CODE_TIMED_OUT: u8 = 124;
const CODE_NO_GUEST: u8 = 125;

pub(crate) const DEFAULT_KERNEL: &str = "6.12";

const SESSION: &str = include_str!("guest/session.sh");
const KEPT_RUNS: usize = 8;

/// Run a command as root in a guest with a distribution kernel
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Run a command as root in a guest with a distribution kernel.

The guest sees this machine's files: its root is your root, read-only, under a \
layer in memory that takes all writes and is gone afterwards. So python3, dig, \
your scripts and everything under this checkout are there by the same path, and \
nothing that the command does can harm the machine. It has its own kernel, \
network (only `lo`; make namespaces as you like), cgroup2 hierarchy and modules, \
which load on demand; there is no way out to a network.

On PATH: dnsprobe and lab, freshly built, and the tools that `cargo xtask setup` \
lists: ip nft iptables-legacy ipvsadm conntrack tc tcpdump dig dnsperf python3 \
bpftrace. The command starts in /lab, where --copy puts files. Its output comes \
out here as it is written, its exit code is ours, and what it leaves in /out is \
moved to target/vm. 124: the time was over. 125: the guest did not boot or died; \
then the end of its console is shown.")]
#[command(after_help = "\
Examples:
  cargo xtask vm -- uname -a
  cargo xtask vm --kernel 5.10 -- dnsprobe doctor
  cargo xtask vm -- bash -c 'dnsprobe top --duration 5s & dig @127.0.0.1 a.test; wait'

Trying dnsprobe against a script of yours: the script makes the traffic, dnsprobe
watches, and the file it writes comes back.
  cargo xtask vm --copy outage.sh -- bash -c '
    dnsprobe trace -o json --duration 30s >/out/trace.json 2>/out/dnsprobe.err &
    until grep -q \"dnsprobe: watching\" /out/dnsprobe.err; do sleep 0.1; done
    ./outage.sh
    wait'
  less target/vm/trace.json")]
pub(crate) struct Args {
    /// Guest kernel: a series such as 6.12, or a whole release name
    #[arg(long, value_name = "VERSION", default_value = DEFAULT_KERNEL)]
    kernel: String,

    /// Number of processors
    #[arg(long, value_name = "N", default_value_t = 2)]
    smp: u32,

    /// Count instructions: one guest nanosecond per guest instruction, for
    /// exact repeatable costs; implies --smp 1
    #[arg(long, conflicts_with = "mttcg")]
    icount: bool,

    /// One host thread per guest processor, for races that need true
    /// parallelism; a kernel dies under it now and then
    #[arg(long)]
    mttcg: bool,

    /// Kill the guest after this time
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,

    /// Put a file or directory into the command's working directory
    #[arg(long, value_name = "FILE")]
    copy: Vec<PathBuf>,

    /// Boot with what was built before, or nothing
    #[arg(long)]
    no_build: bool,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    if !args.no_build {
        build::all(workspace, &build::Args::default())?;
    }
    let guest = Guest {
        kernel: find_kernel(workspace, &args.kernel)?,
        processors: args.smp,
        instruction_count: args.icount,
        parallel: args.mttcg,
        limit: Duration::from_secs(args.timeout),
        copy: args.copy.clone(),
        command: args.command.clone(),
        terminal: Terminal::ours(),
        out: workspace.target().join("vm"),
    };
    let started = Instant::now();
    let ended = guest.run(workspace, ours())?;
    for file in &ended.files {
        eprintln!("vm: {}", workspace.relative(file).display());
    }
    ended.explain(workspace, started.elapsed());
    Ok(ExitCode::from(ended.code()))
}

/// Output straight to our own.
fn ours() -> Listener {
    Listener {
        stdout: Box::new(io::stdout()),
        stderr: Box::new(io::stderr()),
        on_start: Box::new(|| {}),
    }
}

/// The guest kernel for a series, or an error that says what to do.
pub(crate) fn find_kernel(workspace: &Workspace, version: &str) -> Result<GuestKernel> {
    if let Some(kernel) = GuestKernel::find(workspace, version)? {
        return Ok(kernel);
    }
    let known: Vec<&str> = SERIES.iter().map(|series| series.prefix).collect();
    bail!(
        "there is no guest kernel {version} here; `cargo xtask setup` fetches {}",
        known.join(", ")
    )
}

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
        let machine = qemu::Machine {
            kernel: &self.kernel.image(),
            initramfs: &initramfs,
            share: &share,
            console: &console,
            processor: qemu::Processor {
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
