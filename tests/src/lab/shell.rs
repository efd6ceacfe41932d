//! Running the system's own tools, and namespaces to run them in.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

/// Where commands run: the machine's own network namespace, or a named one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// Whatever the lab itself was started in.
    Own,
    /// One made with `ip netns add`.
    Named(String),
}

impl Namespace {
    /// Run `work` on a thread inside this namespace. Processes it starts are
    /// born there.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let Self::Named(name) = self else {
            return work();
        };
        let path = PathBuf::from("/run/netns").join(name);
        thread::scope(|scope| {
            scope
                .spawn(move || {
                    let file = File::open(&path)
                        .with_context(|| format!("no network namespace {}", path.display()))?;
                    setns(file, CloneFlags::CLONE_NEWNET)?;
                    work()
                })
                .join()
                .map_err(|_| anyhow!("the thread in {name} panicked"))?
        })
    }

    /// Run a command line (split at blanks) here; its standard output.
    pub fn run(&self, line: &str) -> Result<String> {
        self.run_with_input(line, "")
    }

    /// The same, with `input` on standard input.
    pub fn run_with_input(&self, line: &str, input: &str) -> Result<String> {
        self.enter(|| {
            let child = spawn_piped(line)?;
            let output = feed(child, input)?;
            if !output.status.success() {
                bail!(
                    "`{line}` failed ({}): {}",
                    output.status,
                    String::from_utf8_lossy(&output.stderr).trim()
                );
            }
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        })
    }

    /// Set sysctls, given as `net/ipv4/ip_forward=1`.
    pub fn sysctl(&self, settings: &[&str]) -> Result<()> {
        self.enter(|| {
            for setting in settings {
                let (key, value) = setting.split_once('=').context("a sysctl needs a value")?;
                fs::write(format!("/proc/sys/{key}"), value)
                    .with_context(|| format!("cannot set {key} to {value}"))?;
            }
            Ok(())
        })
    }

    /// Read one sysctl.
    pub fn read_sysctl(&self, key: &str) -> Result<String> {
        self.enter(|| {
            let value = fs::read_to_string(format!("/proc/sys/{key}"))
                .with_context(|| format!("cannot read {key}"))?;
            Ok(value.trim().to_owned())
        })
    }

    /// Feed `ip -batch` with lines that are `ip` commands without the `ip`.
    pub fn ip(&self, batch: &str) -> Result<()> {
        self.run_with_input("ip -batch -", batch).map(drop)
    }
}

fn spawn_piped(line: &str) -> Result<Child> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command line")?;
    Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}: is it installed?"))
}

fn feed(mut child: Child, input: &str) -> Result<Output> {
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that stops reading says why in its exit status.
        let _ = stdin.write_all(input.as_bytes());
    }
    Ok(child.wait_with_output()?)
}
