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

/// The tally of each kernel, in the order of the plan.
pub(super) fn run(workspace: &Workspace, plan: &Plan<'_>) -> Result<Vec<(String, Tally)>> {
    let mut kernels = Vec::new();
    for version in plan.kernels {
        kernels.push(vm::find_kernel(workspace, version)?);
    }
    let next = Mutex::new(0..kernels.len());
    let tallies = Mutex::new(vec![Tally::FAILED; kernels.len()]);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(index) = take(&next) {
                    let tally =
                        lab(workspace, &plan.kernels[index], &kernels[index], plan.scenarios);
                    tallies.lock().unwrap_or_else(PoisonError::into_inner)[index] = tally;
                }
            });
        }
    });
    let tallies = tallies.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(plan.kernels.iter().cloned().zip(tallies).collect())
}

fn take(queue: &Mutex<std::ops::Range<usize>>) -> Option<usize> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).next()
}

/// Runs the lab in one guest. A guest that does not boot gets a second chance,
/// because that says nothing about dnsprobe; a failed scenario does not.
fn lab(workspace: &Workspace, version: &str, kernel: &GuestKernel, scenarios: &[String]) -> Tally {
    let started = Instant::now();
    for attempt in 1..=2 {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let ended = match boot(workspace, version, kernel, scenarios, &lines) {
            Ok(ended) => ended,
            Err(error) => {
                println!("[{version}] FAIL  {error:#}");
                return Tally::FAILED;
            }
        };
        ended.explain(workspace, started.elapsed());
        if ended.end == End::NeverStarted && attempt == 1 {
            println!("[{version}] the guest did not boot; once more");
            continue;
        }
        let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = lines.iter().rev().find_map(|line| Tally::from_lab(line));
        if counted.is_none() {
            println!("[{version}] FAIL  the lab ended without a summary");
        }
        println!("[{version}] ended after {}", seconds(started.elapsed()));
        return Tally::of_runner(counted, ended.code() == 0);
    }
    Tally::FAILED
}

fn boot(
    workspace: &Workspace,
    version: &str,
    kernel: &GuestKernel,
    scenarios: &[String],
    lines: &Arc<Mutex<Vec<String>>>,
) -> Result<Ended> {
    println!("[{version}] booting {}", kernel.release);
    let mut command: Vec<String> = ["lab", "run", "--out", "/out"].map(str::to_owned).to_vec();
    for scenario in scenarios {
        command.push("--scenario".to_owned());
        command.push(scenario.clone());
    }
    let guest = Guest {
        kernel: kernel.clone(),
        processors: 2,
        instruction_count: false,
        parallel: false,
        limit: LIMIT,
        copy: Vec::new(),
        command,
        terminal: None,
        out: workspace.target().join("vm").join(format!("test-{version}")),
    };
    guest.run(
        workspace,
        Listener {
            stdout: Box::new(Prefixed::new(version, Some(Arc::clone(lines)))),
            stderr: Box::new(Prefixed::new(version, None)),
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
