//! Recordings: `top`, `trace` and `diagnose` tell from one, byte for byte, what
//! they told while it was made; and what a recorder left that was killed tells of
//! the same losses.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::stage::{LOST_AFTER, Stage};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, VICTIM};
use crate::lab::diagnose::Examination;
use crate::lab::dnsprobe::{Mode, Watch};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::process::{AMPLE, Process};
use crate::lab::recording::{Keep, replay};
use crate::observed::Observed;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "replay",
    about: "recordings replay to what was printed live; so does a killed recorder's file",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

/// Queries that a rule drops.
const DROPPED: u16 = 5;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let directory = std::env::temp_dir().join(format!("dnsprobe-replay-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let keep = |name: &str| Keep { output: None, recording: Some(directory.join(name)) };
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .rule("filter", format!("-A FORWARD -s {} -p udp --dport 53 -j DROP", VICTIM.address()))
        .load(stage.node)?;
    let (program, directories) = (&stage.programs.dnsprobe, stage.node.directories());
    let top = Watch::start(program, Mode::Top, LOST_AFTER, directories, keep("top.rec"))?;
    let trace = Watch::start(program, Mode::Trace, LOST_AFTER, directories, keep("trace.rec"))?;
    let diagnose = Examination::start(program, directories, keep("diagnose.rec"))?;
    let killed = directory.join("killed.rec");
    let mut command = Command::new(program);
    command
        .args(["record", "--lost-after", &format!("{}ms", LOST_AFTER.as_millis()), "-o"])
        .arg(&killed)
        .arg("--log-dir")
        .arg(&directories.logs)
        .arg("--cgroup-root")
        .arg(&directories.cgroups)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().context("cannot start dnsprobe record")?;
    let mut recorder = Process::new("dnsprobe record", child);
    recorder.wait_for("dnsprobe: watching", AMPLE)?;

    let healthy = stage.healthy_pod(DNS)?;
    let queries = query::Args { timeout_ms: 150, ..query::Args::new(DNS, DROPPED) };
    let victim = stage.programs.query(stage.pod(&VICTIM)?, &queries)?.report()?;
    let mut expectation = Expectation::default();
    expectation.loses(&VICTIM.label(), &victim, "policy-drop")?;
    expectation.healthy(&CART.label(), &healthy.report()?)?;

    // Each compares its recording with what it printed.
    let observed = top.finish()?;
    trace.finish()?;
    let (_, problems) = diagnose.finish()?;
    // Every query is decided; what is a second old is in the file.
    sleep(Duration::from_secs(2));
    recorder.signal(Signal::SIGKILL)?;
    drop(recorder);
    let (lines, said) = replay(program, &killed, &["trace"])?;
    ensure!(said.contains("the end is missing"), "of a cut file replay says: {said}");
    let replayed = Observed::parse(&lines)?;
    let lost = replayed.verdicts.iter().filter(|verdict| verdict.cause == "policy-drop").count();
    std::fs::remove_dir_all(&directory)?;
    Ok(Outcome::new(expectation, observed).also(problems).also(
        (lost != usize::from(DROPPED))
            .then(|| format!("the killed recorder's file tells of {lost} losses, not {DROPPED}")),
    ))
}
