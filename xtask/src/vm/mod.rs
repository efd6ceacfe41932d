//! `cargo xtask vm`: run a command in a guest with a distribution kernel, on
//! this machine's own userland.

mod guest;
mod initramfs;
mod qemu;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::build;
use crate::setup::{self, GuestKernel};
use crate::workspace::Workspace;

pub(crate) use guest::{Ended, Guest, Terminal};
pub(crate) use qemu::{End, Listener};

pub(crate) const DEFAULT_KERNEL: &str = "6.12";

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
    if let Some(kernel) = setup::on_request(workspace, version)? {
        return Ok(kernel);
    }
    bail!(
        "there is no guest kernel {version} here and it is none of the known series {}",
        setup::every_series().join(", ")
    )
}
