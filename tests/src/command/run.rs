//! `lab run` and `lab list`: the scenarios, one after another, on one node.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::lab::kernel::Kernel;
use crate::lab::node::Place;
use crate::lab::{Node, Programs, cast};
use crate::scenarios::{self, Scenario, Stage};

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
    /// Directory for dnsprobe's output, one file per scenario.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// How a scenario ended.
enum End {
    Passed,
    Failed(Vec<String>),
    Skipped(&'static str),
}

/// Run, print, count; exit code 1 if anything failed.
pub fn run(args: &Args, programs: &Programs) -> Result<ExitCode> {
    let kernel = Kernel::running()?;
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
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for scenario in chosen {
        let start = Instant::now();
        let output = args.out.as_ref().map(|out| out.join(format!("{}.jsonl", scenario.name)));
        let stage = Stage { node: &node, programs, kernel, output };
        let name = scenario.name;
        match play(scenario, &stage, args.exact_clock) {
            End::Passed => {
                passed += 1;
                println!("ok    {name}  ({:.1} s)", start.elapsed().as_secs_f64());
            }
            End::Failed(problems) => {
                failed += 1;
                println!("FAIL  {name}: {}", problems.first().map_or("", String::as_str));
                for problem in problems.iter().skip(1) {
                    println!("      {problem}");
                }
            }
            End::Skipped(reason) => {
                skipped += 1;
                println!("skip  {name}: {reason}");
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn play(scenario: &Scenario, stage: &Stage<'_>, exact_clock: bool) -> End {
    if let Some(reason) = scenario.kernels.refusal(stage.kernel) {
        return End::Skipped(reason);
    }
    if scenario.exact_clock && !exact_clock {
        return End::Skipped("needs --exact-clock, on a machine whose clock counts instructions");
    }
    let problems = match scenario.run(stage) {
        Ok(problems) => problems,
        Err(error) => vec![format!("{error:#}")],
    };
    // Whatever came of it, the next one starts from a clean node.
    let leftovers =
        stage.node.reset().err().map(|error| format!("cannot reset the node: {error:#}"));
    match problems.into_iter().chain(leftovers).collect::<Vec<_>>() {
        problems if problems.is_empty() => End::Passed,
        problems => End::Failed(problems),
    }
}

fn choose(names: &[String]) -> Result<Vec<&'static Scenario>> {
    for name in names {
        ensure!(
            scenarios::ALL.iter().chain(scenarios::PENDING).any(|scenario| scenario.name == name),
            "there is no scenario {name}; `lab list` shows them"
        );
    }
    if names.is_empty() {
        return Ok(scenarios::ALL.iter().collect());
    }
    let wanted = |scenario: &&Scenario| names.iter().any(|name| name == scenario.name);
    Ok(scenarios::ALL.iter().chain(scenarios::PENDING).filter(wanted).collect())
}

/// Names, kernels and what happens.
pub fn list() {
    let pending = scenarios::PENDING.iter().map(|scenario| (scenario, " (pending: by name only)"));
    for (scenario, note) in scenarios::ALL.iter().map(|scenario| (scenario, "")).chain(pending) {
        let clock = if scenario.exact_clock { " (needs --exact-clock)" } else { "" };
        println!("{:28} {:14} {}{clock}{note}", scenario.name, scenario.kernels, scenario.about);
    }
}
