//! What runs in guests, two of them at a time: the bench gate, and the lab on each
//! kernel: every scenario on one, and on the others those whose outcome could be
//! another there. What is left out counts as skipped; `cargo xtask accuracy` runs
//! all on all.

use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bench;
use crate::lab_guest::{Kept, LabGuest, Lines, Printed, two_at_a_time};
use crate::progress::seconds;
use crate::setup::GuestKernel;
use crate::shell;
use crate::tally::Tally;
use crate::vm::{self, End};
use crate::workspace::Workspace;

/// An emulator may be three times as slow as another one, on 5.10 most of all.
const LIMIT: Duration = Duration::from_secs(50 * 60);
/// The slowest scenarios that are named.
const SLOWEST: usize = 5;
/// With more scenarios than this a kernel has several guests, so that both
/// processors are busy to the end. A guest's start is worth one or two scenarios.
const PER_GUEST: usize = 24;
/// What the gate's lines start with.
const GATE: &str = "bench gate";

/// What to run in the guests.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// The instructions of the hot path against their baseline.
    pub(super) gate: bool,
    /// The lab on these.
    pub(super) kernels: &'a [String],
    /// Chosen by name; when empty, all on one kernel and a selection on the
    /// others.
    pub(super) scenarios: &'a [String],
}

/// One guest to run.
#[derive(Debug)]
enum Job {
    Gate,
    Lab(Share),
}

/// A kernel's scenarios, or a share of them.
#[derive(Debug)]
struct Share {
    version: String,
    /// What its lines start with.
    label: String,
    kernel: GuestKernel,
    scenarios: Vec<String>,
    /// The guest's clock counts instructions, so that a busy machine disturbs nothing
    /// and waiting costs nothing; it has one processor then, otherwise two.
    exact_clock: bool,
}

impl Job {
    /// What it counts for.
    fn name(&self) -> &str {
        match self {
            Self::Gate => GATE,
            Self::Lab(share) => &share.version,
        }
    }
}

impl Share {
    fn guest(&self, workspace: &Workspace) -> LabGuest {
        let mut arguments: Vec<String> = ["run", "--out", "/out"].map(str::to_owned).to_vec();
        if self.exact_clock {
            arguments.push("--exact-clock".to_owned());
        }
        for scenario in &self.scenarios {
            arguments.push("--scenario".to_owned());
            arguments.push(scenario.clone());
        }
        LabGuest {
            label: self.label.clone(),
            kernel: self.kernel.clone(),
            exact_clock: self.exact_clock,
            limit: LIMIT,
            arguments,
            out: workspace.target().join("vm").join(format!("test-{}", self.label)),
        }
    }
}

/// The scenarios of the lab by what they need.
struct Scenarios {
    all: Vec<String>,
    /// Those whose outcome could depend on the kernel.
    of_kernels: Vec<String>,
    /// Those that need two processors.
    of_processors: Vec<String>,
}

impl Scenarios {
    fn list(workspace: &Workspace) -> Result<Self> {
        let names = |arguments: &[&str]| {
            let mut lab = Command::new(workspace.release_binary("lab"));
            let list = shell::output(lab.args(["list", "--names"]).args(arguments))?;
            anyhow::Ok(list.lines().map(str::to_owned).collect())
        };
        Ok(Self {
            all: names(&[])?,
            of_kernels: names(&["--of-kernels"])?,
            of_processors: names(&["--two-processors"])?,
        })
    }

    /// What runs on a kernel: what is chosen; else everything where that is meant.
    fn on(&self, version: &str, plan: &Plan<'_>) -> Vec<String> {
        let alone = plan.kernels.len() == 1;
        match plan.scenarios {
            [] if alone || version == vm::DEFAULT_KERNEL => self.all.clone(),
            [] => self.of_kernels.clone(),
            chosen => chosen.to_vec(),
        }
    }

    /// A share for each guest, and whether its clock is exact, which one with two
    /// processors cannot have.
    fn shares(&self, scenarios: Vec<String>) -> Vec<(bool, Vec<String>)> {
        let (with_two, with_one): (Vec<_>, Vec<_>) =
            scenarios.into_iter().partition(|name| self.of_processors.contains(name));
        let with_one = shares(&with_one).into_iter().map(|share| (true, share));
        with_one.chain(shares(&with_two).into_iter().map(|share| (false, share))).collect()
    }
}

/// The tally of the gate and of each kernel, in the order of the plan.
pub(super) fn run(workspace: &Workspace, plan: &Plan<'_>) -> Result<Vec<(String, Tally)>> {
    let lines = Lines::out();
    let mut jobs = Vec::new();
    if plan.gate {
        jobs.push(Job::Gate);
    }
    let listed = Scenarios::list(workspace)?;
    let mut left_out = Vec::new();
    for version in plan.kernels {
        let kernel = vm::find_kernel(workspace, version)?;
        let scenarios = listed.on(version, plan);
        if plan.scenarios.is_empty() && scenarios.len() < listed.all.len() {
            left_out.push((version, listed.all.len() - scenarios.len()));
        }
        let shares = listed.shares(scenarios);
        let several = shares.len() > 1;
        for (number, (exact_clock, scenarios)) in (1..).zip(shares) {
            let label = if several { format!("{version}-{number}") } else { version.clone() };
            jobs.push(Job::Lab(Share {
                version: version.clone(),
                label,
                kernel: kernel.clone(),
                scenarios,
                exact_clock,
            }));
        }
    }
    let counted = two_at_a_time(jobs.len(), |index| match &jobs[index] {
        Job::Gate => gate(workspace, lines),
        Job::Lab(share) => lab(workspace, share, lines),
    });
    let mut tallies: Vec<(String, Tally)> = Vec::new();
    for (job, tally) in jobs.iter().zip(counted) {
        match tallies.last_mut() {
            Some((name, sum)) if name == job.name() => *sum += tally,
            _ => tallies.push((job.name().to_owned(), tally)),
        }
    }
    for (version, count) in left_out {
        lines.say(
            version,
            &format!(
                "skip  {count} scenarios whose outcome does not depend on the kernel; \
                 `cargo xtask accuracy` runs them here"
            ),
        );
        if let Some((_, sum)) = tallies.iter_mut().find(|(name, _)| name == version) {
            *sum += Tally::skipped(count);
        }
    }
    Ok(tallies)
}

/// As few equal shares as may be. Neighbours in the list, of which some take long,
/// go to different ones.
fn shares(scenarios: &[String]) -> Vec<Vec<String>> {
    let count = scenarios.len().div_ceil(PER_GUEST);
    (0..count).map(|first| scenarios.iter().skip(first).step_by(count).cloned().collect()).collect()
}

/// Each row of the bench against its baseline.
fn gate(workspace: &Workspace, lines: Lines) -> Tally {
    let compared = bench::compare(workspace).unwrap_or_else(|error| {
        lines.say(GATE, &format!("FAIL  {error:#}"));
        Vec::new()
    });
    let mut sum = Tally::default();
    for row in &compared {
        lines.say(GATE, &row.to_string());
        sum += if row.passed() { Tally::PASSED } else { Tally::FAILED };
    }
    // Nothing compared is a failure, too.
    Tally::of_runner((!compared.is_empty()).then_some(sum), sum.failed == 0)
}

/// Runs the lab in one guest. A guest that does not boot gets a second chance,
/// because that says nothing about dnsprobe; a failed scenario does not.
fn lab(workspace: &Workspace, share: &Share, lines: Lines) -> Tally {
    let started = Instant::now();
    let say = |line: &str| lines.say(&share.label, line);
    for attempt in 1..=2 {
        let printed: Kept = Arc::new(Mutex::new(Vec::new()));
        let ended = match share.guest(workspace).run(workspace, lines, &printed) {
            Ok(ended) => ended,
            Err(error) => {
                say(&format!("FAIL  {error:#}"));
                return Tally::FAILED;
            }
        };
        ended.explain(workspace, started.elapsed());
        if ended.end == End::NeverStarted && attempt == 1 {
            say("the guest did not boot; once more");
            continue;
        }
        let printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = printed.iter().rev().find_map(|printed| Tally::from_lab(&printed.line));
        if counted.is_none() {
            say("FAIL  the lab ended without a summary");
        }
        say(&format!("ended after {}; slowest: {}", seconds(started.elapsed()), slowest(&printed)));
        return Tally::of_runner(counted, ended.code() == 0);
    }
    Tally::FAILED
}

/// The scenarios that took longest by this machine's clock.
fn slowest(printed: &[Printed]) -> String {
    let mut times: Vec<(u64, &str)> = printed
        .windows(2)
        .filter_map(|pair| {
            let [before, after] = pair else { return None };
            let rest = ["ok    ", "FAIL  "].iter().find_map(|end| after.line.strip_prefix(end))?;
            let name = rest.split([' ', ':']).next()?;
            Some(((after.at - before.at).as_secs(), name))
        })
        .collect();
    times.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    let told: Vec<String> =
        times.iter().take(SLOWEST).map(|(time, name)| format!("{name} {time} s")).collect();
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(version: &str, kernels: &[&str], chosen: &[&str]) -> Vec<String> {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let (kernels, scenarios) = (owned(kernels), owned(chosen));
        let plan = Plan { gate: false, kernels: &kernels, scenarios: &scenarios };
        let listed = Scenarios {
            all: owned(&["a", "b", "c"]),
            of_kernels: owned(&["b"]),
            of_processors: Vec::new(),
        };
        listed.on(version, &plan)
    }

    #[test]
    fn one_kernel_runs_everything_and_the_others_a_selection() {
        assert_eq!(on("6.12", &["5.10", "6.12"], &[]), ["a", "b", "c"]);
        assert_eq!(on("5.10", &["5.10", "6.12"], &[]), ["b"]);
        assert_eq!(on("5.10", &["5.10"], &[]), ["a", "b", "c"]);
        assert_eq!(on("5.10", &["5.10", "6.12"], &["c"]), ["c"]);
    }

    #[test]
    fn shares_are_equal_and_hold_each_scenario_once() {
        let all: Vec<String> = (0..92).map(|number| number.to_string()).collect();
        let parts = shares(&all);
        assert!(parts.iter().all(|part| part.len() == 23), "{parts:?}");
        assert_eq!(parts[1][..2], ["1", "5"]);
        let mut together = parts.concat();
        together.sort_by_key(|name| name.parse::<u32>().unwrap());
        assert_eq!(together, all);
        assert_eq!(shares(&all[..PER_GUEST]), [&all[..PER_GUEST]]);
        assert!(shares(&[]).is_empty());
    }

    #[test]
    fn the_slowest_are_named_by_the_time_between_lines() {
        let printed = |at, line: &str| Printed { at: Duration::from_secs(at), line: line.into() };
        let lines = [
            printed(9, "mini node with 12 pods on kernel 6.12  (3.4 s)"),
            printed(12, "ok    healthy  (30.1 s)"),
            printed(12, "skip  latency: why"),
            printed(20, "FAIL  trace: no  (1.0 s)"),
            printed(21, "      and more"),
        ];
        assert_eq!(slowest(&lines), "trace 8 s, healthy 3 s");
    }
}
