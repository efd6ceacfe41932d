//! The lab on each guest kernel.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::tally::Tally;
use crate::lab_guest::{LabGuest, Lines, two_at_a_time};
use crate::progress::seconds;
use crate::setup::GuestKernel;
use crate::vm::{self, End};
use crate::workspace::Workspace;

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
    fn guest(&self, workspace: &Workspace) -> LabGuest {
        let mut arguments: Vec<String> = ["run", "--out", "/out"].map(str::to_owned).to_vec();
        if self.exact_clock {
            arguments.push("--exact-clock".to_owned());
        }
        for scenario in &self.scenarios {
            arguments.push("--scenario".to_owned());
            arguments.push(scenario.clone());
        }
        let directory = format!("test-{}", self.label.replace(' ', "-"));
        LabGuest {
            label: self.label.clone(),
            kernel: self.kernel.clone(),
            exact_clock: self.exact_clock,
            limit: LIMIT,
            arguments,
            out: workspace.target().join("vm").join(directory),
        }
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
    let tallies = two_at_a_time(all.len(), |index| lab(workspace, &all[index]));
    Ok(all.into_iter().map(|job| job.label).zip(tallies).collect())
}

/// Runs the lab in one guest. A guest that does not boot gets a second chance,
/// because that says nothing about dnsprobe; a failed scenario does not.
fn lab(workspace: &Workspace, job: &Job) -> Tally {
    let label = &job.label;
    let started = Instant::now();
    for attempt in 1..=2 {
        let printed = Arc::new(Mutex::new(Vec::new()));
        let guest = job.guest(workspace);
        let ended = match guest.run(workspace, Lines::Out, &printed) {
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
        let lines = printed.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = lines.iter().rev().find_map(|line| Tally::from_lab(line));
        if counted.is_none() {
            println!("[{label}] FAIL  the lab ended without a summary");
        }
        println!("[{label}] ended after {}", seconds(started.elapsed()));
        return Tally::of_runner(counted, ended.code() == 0);
    }
    Tally::FAILED
}
