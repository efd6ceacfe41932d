//! The lab on each guest kernel, at most two guests at a time: emulation keeps
//! one processor of this machine busy per guest.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::tally::Tally;
use crate::progress::seconds;
use crate::setup::GuestKernel;
use crate::vm::{self, End, Ended, Guest, Listener};
use crate::workspace::Workspace;

const AT_ONCE: usize = 2;
const LIMIT: Duration = Duration::from_secs(25 * 60);

/// What to run in the guests.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) kernels: &'a [String],
    /// All when empty.
    pub(super) scenarios: &'a [String],
}

/// The scenario that compares latencies with the client's own. It needs a clock
/// that a busy machine cannot disturb, so it has a guest of its own in which
/// instructions are the clock.
const EXACT_CLOCK: &str = "latency";

/// One guest to run.
#[derive(Debug)]
struct Job {
    /// What its lines start with.
    label: String,
    kernel: GuestKernel,
    exact_clock: bool,
    scenarios: Vec<String>,
}

impl Job {
    fn command(&self) -> Vec<String> {
        let mut command: Vec<String> = ["lab", "run", "--out", "/out"].map(str::to_owned).to_vec();
        if self.exact_clock {
            command.push("--exact-clock".to_owned());
        }
        for scenario in &self.scenarios {
            command.push("--scenario".to_owned());
            command.push(scenario.clone());
        }
        command
    }
}

/// The guests of a plan: per kernel the scenarios, and the one that needs an
/// exact clock.
fn jobs(version: &str, kernel: &GuestKernel, scenarios: &[String]) -> Vec<Job> {
    let (exact, others): (Vec<String>, Vec<String>) =
        scenarios.iter().cloned().partition(|name| name == EXACT_CLOCK);
    let mut jobs = Vec::new();
    if scenarios.is_empty() || !others.is_empty() {
        let label = version.to_owned();
        jobs.push(Job { label, kernel: kernel.clone(), exact_clock: false, scenarios: others });
    }
    if scenarios.is_empty() || !exact.is_empty() {
        jobs.push(Job {
            label: format!("{version} {EXACT_CLOCK}"),
            kernel: kernel.clone(),
            exact_clock: true,
            scenarios: vec![EXACT_CLOCK.to_owned()],
        });
    }
    jobs
}

/// The tally of each guest, in the order of the plan.
pub(super) fn run(workspace: &Workspace, plan: &Plan<'_>) -> Result<Vec<(String, Tally)>> {
    let mut all = Vec::new();
    for version in plan.kernels {
        let kernel = vm::find_kernel(workspace, version)?;
        all.extend(jobs(version, &kernel, plan.scenarios));
    }
    let next = Mutex::new(0..all.len());
    let tallies = Mutex::new(vec![Tally::FAILED; all.len()]);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(index) = take(&next) {
                    let tally = lab(workspace, &all[index]);
                    tallies.lock().unwrap_or_else(PoisonError::into_inner)[index] = tally;
                }
            });
        }
    });
    let tallies = tallies.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(all.into_iter().map(|job| job.label).zip(tallies).collect())
}

fn take(queue: &Mutex<std::ops::Range<usize>>) -> Option<usize> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).next()
}

/// Runs the lab in one guest. A guest that does not boot gets a second chance,
/// because that says nothing about dnsprobe; a failed scenario does not.
fn lab(workspace: &Workspace, job: &Job) -> Tally {
    let label = &job.label;
    let started = Instant::now();
    for attempt in 1..=2 {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let ended = match boot(workspace, job, &lines) {
            Ok(ended) => ended,
            Err(error) => {
                println!("[{label}] FAIL  {error:#}");
                return Tally::FAILED;
            }
        };
        ended.explain(workspace, started.elapsed());
        if ended.end == End::NeverStarted && attempt == 1 {
            println!("[{label}] the guest did not boot; once more");
            continue;
        }
        let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = lines.iter().rev().find_map(|line| Tally::from_lab(line));
        if counted.is_none() {
            println!("[{label}] FAIL  the lab ended without a summary");
        }
        println!("[{label}] ended after {}", seconds(started.elapsed()));
        return Tally::of_runner(counted, ended.code() == 0);
    }
    Tally::FAILED
}

fn boot(workspace: &Workspace, job: &Job, lines: &Arc<Mutex<Vec<String>>>) -> Result<Ended> {
    println!("[{}] booting {}", job.label, job.kernel.release);
    let guest = Guest {
        kernel: job.kernel.clone(),
        processors: if job.exact_clock { 1 } else { 2 },
        instruction_count: job.exact_clock,
        parallel: false,
        limit: LIMIT,
        copy: Vec::new(),
        command: job.command(),
        terminal: None,
        out: workspace.target().join("vm").join(format!("test-{}", job.label.replace(' ', "-"))),
    };
    guest.run(
        workspace,
        Listener {
            stdout: Box::new(Prefixed::new(&job.label, Some(Arc::clone(lines)))),
            stderr: Box::new(Prefixed::new(&job.label, None)),
            on_start: Box::new(|| {}),
        },
    )
}

/// Prints whole lines with the kernel's version in front, because two guests
/// share our stdout; may keep them as well.
#[derive(Debug)]
struct Prefixed {
    prefix: String,
    partial: Vec<u8>,
    keep: Option<Arc<Mutex<Vec<String>>>>,
}

impl Prefixed {
    fn new(version: &str, keep: Option<Arc<Mutex<Vec<String>>>>) -> Self {
        Self { prefix: format!("[{version}] "), partial: Vec::new(), keep }
    }

    fn line(&self, bytes: &[u8]) {
        let line = String::from_utf8_lossy(bytes).into_owned();
        println!("{}{line}", self.prefix);
        if let Some(keep) = &self.keep {
            keep.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }
}

impl Write for Prefixed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.line(&line[..end]);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Prefixed {
    fn drop(&mut self) {
        if !self.partial.is_empty() {
            self.line(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_pieces() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let mut writer = Prefixed::new("6.12", Some(Arc::clone(&kept)));
        for piece in ["a", "b\nc", "\n", "end"] {
            writer.write_all(piece.as_bytes()).unwrap();
        }
        drop(writer);
        assert_eq!(*kept.lock().unwrap(), ["ab", "c", "end"]);
    }
}
