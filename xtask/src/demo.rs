//! `cargo xtask demo`: from a fresh machine to a caught conntrack race.

use std::io;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::progress::{Step, Steps};
use crate::vm::{self, Guest, Listener, Terminal};
use crate::workspace::Workspace;
use crate::{build, setup};

/// The story takes about a minute; more than this is a fault.
const LIMIT: Duration = Duration::from_secs(600);

/// Show dnsprobe at work: real DNS faults in a real kernel, caught and named
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Show dnsprobe at work: real DNS faults in a real kernel, caught and named.

Installs what is missing (as `cargo xtask setup` does), builds, boots a guest \
with a small Kubernetes-like node in it, and causes faults while `dnsprobe top` \
watches: a live table per pod, then the verdicts. Nothing on this machine is \
disturbed; the faults happen in the guest.")]
#[command(after_help = "\
Examples:
  cargo xtask demo
  cargo xtask demo --kernel 5.10")]
pub(crate) struct Args {
    /// Guest kernel
    #[arg(long, value_name = "VERSION", default_value = vm::DEFAULT_KERNEL)]
    kernel: String,
}

pub(crate) fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    let started = Instant::now();
    let mut steps = Steps::new(4);
    steps.run("tools", || setup::prepare_if_needed(workspace))?;
    steps.run("build", || build::all(workspace, &build::Args::default()))?;

    let kernel = vm::find_kernel(workspace, &args.kernel)?;
    let boot = steps.begin(&format!("boot a guest with Linux {}", kernel.release));
    let guest = Guest {
        kernel,
        // Instructions as the clock: the story compares dnsprobe's latencies with
        // the client's own, which a busy machine would disturb.
        processors: 1,
        instruction_count: true,
        parallel: false,
        limit: LIMIT,
        copy: Vec::new(),
        command: vec!["lab".to_owned(), "demo".to_owned()],
        terminal: Terminal::ours(),
        out: workspace.target().join("vm"),
    };
    // The step that runs is the boot until the guest says that it is up.
    let running: Arc<Mutex<Option<Step>>> = Arc::new(Mutex::new(Some(boot)));
    let shared = Arc::clone(&running);
    let ended = guest.run(
        workspace,
        Listener {
            stdout: Box::new(io::stdout()),
            stderr: Box::new(io::stderr()),
            on_start: Box::new(move || {
                if let Ok(mut running) = shared.lock() {
                    if let Some(boot) = running.take() {
                        boot.end("done");
                    }
                    *running = Some(steps.begin("the story"));
                }
            }),
        },
    )?;
    if let Ok(mut running) = running.lock()
        && let Some(step) = running.take()
    {
        step.end(if ended.code() == 0 { "done" } else { "failed" });
    }
    ended.explain(workspace, started.elapsed());
    Ok(ExitCode::from(ended.code()))
}
