//! The full-screen view of `dnsprobe top` in a real terminal, at several sizes,
//! with real traffic: what it shows, what keys do, and that the terminal is as
//! before when it ends, however it ends.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::query::Args;
use crate::lab::cast::{CART, COREDNS_0, VICTIM};
use crate::lab::firewall::Rules;
use crate::lab::terminal::Terminal;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "top-view",
    about: "the full-screen view in a real terminal: sizes, keys, signals, a clean end",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

/// An emulated processor attaches and draws slowly.
const AMPLE: Duration = Duration::from_secs(120);
/// Where the shell writes the number of the process under test.
const PID: &str = "/tmp/dnsprobe-view.pid";

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let blocked = format!("-A FORWARD -s {} -p udp --dport 53 -j DROP", VICTIM.address());
    Rules::default().rule("filter", blocked).load(stage.node)?;
    let terminal = Terminal::open(80, 24)?;
    start(stage, &terminal, "", "")?;
    let asks = |count| Args { interval_ms: 20, ..Args::new(COREDNS_0.address(), count) };
    let healthy = stage.programs.query(stage.pod(&CART)?, &asks(50))?;
    let lost = Args { timeout_ms: 50, ..asks(3) };
    stage.programs.query(stage.pod(&VICTIM)?, &lost)?.report()?;
    healthy.report()?;

    shows_traffic(&terminal)?;
    obeys_keys(&terminal)?;
    fits_every_size(&terminal)?;
    is_suspended_and_comes_back(&terminal)?;
    terminal.press("q")?;
    is_as_before(&terminal, 1)?;
    for (round, signal) in [(2, Signal::SIGINT), (3, Signal::SIGTERM)] {
        start(stage, &terminal, "", "")?;
        kill(pid()?, signal)?;
        is_as_before(&terminal, round)?;
    }
    start(stage, &terminal, "NO_COLOR=1 ", "")?;
    terminal
        .wait_for("everything", AMPLE)
        .or_else(|_| terminal.wait_for("could not see", AMPLE))?;
    let coloured = terminal.coloured_picture()?;
    // 39 is the terminal's own colour.
    let chosen = coloured.replace("\x1b[39m", "");
    ensure!(!chosen.contains("\x1b[3"), "colour in spite of NO_COLOR: {coloured:?}");
    terminal.press("C-c")?;
    is_as_before(&terminal, 4)?;
    stays_plain(stage, &terminal)?;
    Ok(Outcome::default().checked("the screen, at every step", Vec::new()))
}

fn command(stage: &Stage<'_>, environment: &str, options: &str) -> String {
    let directories = stage.node.directories();
    format!(
        "clear; {environment}sh -c 'echo $$ >{PID}; exec {} top --lost-after 1s --interval 500ms \
         --log-dir {} --cgroup-root {} {options}'",
        stage.programs.dnsprobe.display(),
        directories.logs.display(),
        directories.cgroups.display()
    )
}

/// Starts the view and waits until it counts.
fn start(stage: &Stage<'_>, terminal: &Terminal, environment: &str, options: &str) -> Result<()> {
    terminal.type_line(&command(stage, environment, options))?;
    terminal.wait_for("window ", AMPLE)?;
    ensure!(terminal.is_taken_over()?, "the view does not take the whole screen");
    Ok(())
}

fn pid() -> Result<Pid> {
    Ok(Pid::from_raw(fs::read_to_string(PID)?.trim().parse()?))
}

fn has(lines: &[String], text: &str) -> bool {
    lines.iter().any(|line| line.contains(text))
}

fn shows_traffic(terminal: &Terminal) -> Result<()> {
    let victim = VICTIM.label();
    let lines = terminal.wait_until("both pods and the losses", AMPLE, |lines| {
        let lost = lines.iter().find(|line| line.starts_with(&victim));
        let lost = lost.is_some_and(|line| line.split_whitespace().nth(1) == Some("3"));
        lost && has(lines, &CART.label())
    })?;
    ensure!(lines.len() <= 24 && has(&lines, "q quit"), "not the screen: {lines:?}");
    Ok(())
}

fn obeys_keys(terminal: &Terminal) -> Result<()> {
    terminal.press("?")?;
    terminal.wait_for("reverse the order", AMPLE)?;
    terminal.press("Escape")?;
    terminal.wait_for("OWNER", AMPLE)?;
    terminal.type_line(&format!("/{}", VICTIM.label()))?;
    terminal.wait_until("the filtered table", AMPLE, |lines| {
        has(lines, "filter: ") && !has(lines, &CART.label())
    })?;
    terminal.press("Enter")?;
    let pod = terminal.wait_for("policy-drop", AMPLE)?;
    ensure!(has(&pod, "lost (window/total)"), "no causes: {pod:?}");
    terminal.press("End")?;
    terminal.wait_until("the proof", AMPLE, |lines| {
        has(lines, "nf_hook_slow") || has(lines, "policy")
    })?;
    terminal.press("Escape")?;
    terminal.wait_for("OWNER", AMPLE)?;
    terminal.press("Escape")?;
    terminal.wait_for(&CART.label(), AMPLE)?;
    terminal.press("p")?;
    terminal.wait_for("PAUSED", AMPLE)?;
    terminal.press("p")?;
    terminal.press("s")?;
    terminal.wait_for("s sort: rate", AMPLE)?;
    Ok(())
}

fn fits_every_size(terminal: &Terminal) -> Result<()> {
    for (width, height) in [(200, 50), (40, 10), (20, 3), (3, 2), (80, 24)] {
        terminal.resize(width, height)?;
        // Seen or not seen: one of the two is the last thing on the screen.
        // The last column may say that something is cut off.
        let shown = usize::from(width).saturating_sub(1).min(10);
        let (first, other) = (&"everything"[..shown], &"could not "[..shown]);
        terminal.wait_until("what could not be seen", AMPLE, |lines| {
            let full = lines.len() <= usize::from(height);
            full && (has(lines, first) || has(lines, other))
        })?;
    }
    terminal.wait_for("OWNER", AMPLE)?;
    Ok(())
}

fn is_suspended_and_comes_back(terminal: &Terminal) -> Result<()> {
    terminal.press("C-z")?;
    terminal.wait_until("the shell", AMPLE, |lines| has(lines, "Stopped"))?;
    ensure!(!terminal.is_taken_over()?, "suspended, and still has the screen");
    terminal.type_line("fg")?;
    terminal.wait_for("OWNER", AMPLE)?;
    kill(pid()?, Signal::SIGTSTP)?;
    terminal.wait_until("the shell again", AMPLE, |lines| {
        lines.iter().filter(|line| line.contains("Stopped")).count() >= 2
    })?;
    terminal.type_line("fg")?;
    terminal.wait_for("OWNER", AMPLE)?;
    Ok(())
}

/// The shell answers, and shows what is typed. `round` tells its answers apart.
fn is_as_before(terminal: &Terminal, round: u32) -> Result<()> {
    terminal.wait_until("the end", AMPLE, |lines| !has(lines, "q quit"))?;
    terminal.type_line(&format!("clear; echo back-$((40 + {round}))"))?;
    terminal.wait_for(&format!("back-{}", 40 + round), AMPLE)?;
    ensure!(!terminal.is_taken_over()?, "it ended, and the screen is still taken");
    terminal.type_line(": typed")?;
    terminal.wait_for(": typed", AMPLE)?;
    Ok(())
}

/// With `--plain`, the lines of a pipe, on a terminal too.
fn stays_plain(stage: &Stage<'_>, terminal: &Terminal) -> Result<()> {
    terminal.type_line(&command(stage, "", "--plain --duration 2s"))?;
    terminal.wait_for("dnsprobe top  ", AMPLE)?;
    ensure!(!terminal.is_taken_over()?, "--plain takes the whole screen");
    terminal
        .wait_until("the end", AMPLE, |lines| lines.last().is_some_and(|l| l.starts_with('$')))?;
    Ok(())
}
