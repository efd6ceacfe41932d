//! `lab run` and `lab list`: the scenarios, one after another, on one node.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::lab::kernel::Kernel;
use crate::lab::node::Place;
use crate::lab::recording::Keep;
use crate::lab::{Node, Programs, cast};
use crate::result::{Comparison, ScenarioResult};
use crate::scenarios::{self, Kernels, Scenario, Stage};

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Scenario to run; all when not given. Repeatable.
    #[arg(long = "scenario", value_name = "NAME")]
    scenarios: Vec<String>,
    /// The machine's clock counts instructions: run also the scenarios that
    /// compare times closely.
    #[arg(long)]
    exact_clock: bool,
    /// Directory for dnsprobe's output (`NAME.jsonl`) and what came of it
    /// (`NAME.result.json`), one of each per scenario.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also have dnsprobe record (`NAME.rec`): what is replayed from that must be
    /// what it printed.
    #[arg(long, requires = "out")]
    record: bool,
}

/// How many scenarios ended how.
#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
}

/// Run, print, count; exit code 1 if anything failed.
pub fn run(args: &Args, programs: &Programs) -> Result<ExitCode> {
    let kernel = Kernel::running()?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let chosen = choose(&args.scenarios)?;
    if let Some(out) = &args.out {
        fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    }
    let start = Instant::now();
    programs.warm_up()?;
    let node = Node::up(Place::WholeMachine, &cast::ALL)?;
    println!(
        "mini node with {} pods on kernel {kernel}  ({:.1} s)",
        node.pods().len(),
        start.elapsed().as_secs_f64()
    );
    let mut tally = Tally::default();
    for scenario in chosen {
        let file = |kind| Some(args.out.as_ref()?.join(format!("{}.{kind}", scenario.name)));
        let recording = if args.record { file("rec") } else { None };
        let keep = Keep { output: file("jsonl"), recording };
        let stage = Stage { node: &node, programs, kernel, keep };
        let result = play(scenario, &stage, release.trim(), args.exact_clock);
        tally.tell(&result);
        if let Some(out) = &args.out {
            let path = out.join(format!("{}.result.json", scenario.name));
            fs::write(&path, serde_json::to_string_pretty(&result)? + "\n")
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    let Tally { passed, failed, skipped } = tally;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Tally {
    fn tell(&mut self, result: &ScenarioResult) {
        let name = result.scenario;
        if let Some(reason) = &result.skipped {
            self.skipped += 1;
            println!("skip  {name}: {reason}");
            return;
        }
        if result.right {
            self.passed += 1;
            println!("ok    {name}  ({:.1} s)", result.seconds);
            return;
        }
        self.failed += 1;
        let mut problems = result.problems();
        let first = problems.next().unwrap_or("it compared nothing");
        println!("FAIL  {name}: {first}  ({:.1} s)", result.seconds);
        for problem in problems {
            println!("      {problem}");
        }
    }
}

fn play(
    scenario: &Scenario,
    stage: &Stage<'_>,
    release: &str,
    exact_clock: bool,
) -> ScenarioResult {
    let name = (scenario.name, scenario.about);
    if let Some(reason) = scenario.kernels.refusal(stage.kernel) {
        return ScenarioResult::skipped(name, release, reason);
    }
    if scenario.exact_clock && !exact_clock {
        let reason = "needs --exact-clock, on a machine whose clock counts instructions";
        return ScenarioResult::skipped(name, release, reason);
    }
    let start = Instant::now();
    let mut comparison = scenario.run(stage).unwrap_or_else(|error| {
        let mut comparison = Comparison::default();
        comparison.wrong(format!("{error:#}"));
        comparison
    });
    // Whatever came of it, the next one starts from a clean node.
    if let Err(error) = stage.node.reset() {
        comparison.wrong(format!("cannot reset the node: {error:#}"));
    }
    ScenarioResult::ran(name, release, start.elapsed().as_secs_f64(), comparison)
}

fn choose(names: &[String]) -> Result<Vec<&'static Scenario>> {
    for name in names {
        ensure!(
            scenarios::ALL.iter().any(|scenario| scenario.name == name),
            "there is no scenario {name}; `lab list` shows them"
        );
    }
    if names.is_empty() {
        return Ok(scenarios::ALL.iter().collect());
    }
    let wanted = |scenario: &&Scenario| names.iter().any(|name| name == scenario.name);
    Ok(scenarios::ALL.iter().filter(wanted).collect())
}

/// What to list.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Only the names of those that run when none is named, one per line.
    #[arg(long)]
    names: bool,
    /// With --names: without those whose outcome does not depend on the kernel.
    #[arg(long, requires = "names")]
    of_kernels: bool,
    /// With --names: only those that need two processors.
    #[arg(long, requires = "names")]
    two_processors: bool,
}

/// Names, kernels and what happens.
pub fn list(args: &ListArgs) {
    if args.names {
        scenarios::ALL
            .iter()
            .filter(|scenario| {
                !args.two_processors || matches!(scenario.kernels, Kernels::TwoProcessors)
            })
            .map(|scenario| scenario.name)
            .filter(|name| !args.of_kernels || !scenarios::SAME_ON_EVERY_KERNEL.contains(name))
            .for_each(|name| println!("{name}"));
        return;
    }
    for scenario in scenarios::ALL {
        let clock = if scenario.exact_clock { " (needs --exact-clock)" } else { "" };
        println!("{:28} {:14} {}{clock}", scenario.name, scenario.kernels, scenario.about);
    }
}
