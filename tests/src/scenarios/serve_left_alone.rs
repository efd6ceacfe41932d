//! `dnsprobe serve` on a node where things go wrong around it: the disk behind its
//! standard output is full, and the clock is set an hour forward and back.

use std::fs::File;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use serde_json::Value;

use super::serve::{equal, series};
use super::stage::{LOST_AFTER, Stage};
use super::{Kernels, Outcome, Scenario};
use crate::client::query::Args;
use crate::lab::cast::{CART, COREDNS_0, DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::serve::Server;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "serve-left-alone",
    about: "serve: a full disk behind its output, and the clock set forward and back",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PORT: u16 = 19_353;
const STEP: Duration = Duration::from_secs(3_600);

/// The clock an hour ahead, for as long as it lives.
struct Ahead;

impl Ahead {
    fn set() -> Result<Self> {
        move_clock(|now| now + TimeSpec::from_duration(STEP))?;
        Ok(Self)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        let _ = move_clock(|now| now - TimeSpec::from_duration(STEP));
    }
}

fn move_clock(to: impl Fn(TimeSpec) -> TimeSpec) -> Result<()> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
    clock_settime(ClockId::CLOCK_REALTIME, to(now)).context("cannot set the clock")
}

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let blocked = format!("-A FORWARD -s {} -p udp --dport 53 -j DROP", VICTIM.address());
    Rules::default()
        .service(DNS, &[COREDNS_0], Balance::Random)
        .rule("filter", blocked)
        .load(stage.node)?;
    let full = File::options().write(true).open("/dev/full")?;
    let directories = stage.node.directories();
    let server = Server::start_with(
        &stage.programs.dnsprobe,
        PORT,
        LOST_AFTER,
        directories,
        &["--max-cpu-percent=0"],
        Stdio::from(full),
    )?;
    let began = SystemTime::now();
    let before = stage.healthy_pod(DNS)?.report()?;
    let (mut lost, mut asked) = (0, before.sent);
    let mut problems = Vec::new();
    {
        let _ahead = Ahead::set()?;
        server.get("/readyz").context("not ready once the clock was set forward")?;
        let args = Args { timeout_ms: 100, ..Args::new(DNS, 4) };
        lost += stage.programs.query(stage.pod(&VICTIM)?, &args)?.report()?.lost();
        asked += stage.healthy_pod(DNS)?.report()?.sent;
        sleep(LOST_AFTER + Duration::from_millis(2500));
        server.get("/readyz").context("not ready while the clock is ahead")?;
        problems.extend(times_are_unmoved(&server.text("/api/v1/verdicts")?, began)?);
    }
    server.get("/readyz").context("not ready once the clock was set back")?;
    asked += stage.healthy_pod(DNS)?.report()?.sent;
    sleep(Duration::from_millis(1500));

    let queries = series("dnsprobe_queries_total", CART.namespace, CART.name, "");
    problems.extend(equal(&queries, server.metric(&queries)?, asked));
    let answers = series("dnsprobe_latency_seconds_count", CART.namespace, CART.name, "");
    problems.extend(equal(&answers, server.metric(&answers)?, asked));
    let losses = series(
        "dnsprobe_lost_queries_total",
        VICTIM.namespace,
        VICTIM.name,
        ",cause=\"policy-drop\"",
    );
    problems.extend(equal(&losses, server.metric(&losses)?, lost));
    let unprinted = "dnsprobe_verdicts_not_printed_total";
    problems.extend(equal(unprinted, server.metric(unprinted)?, lost));
    server.finish().context("it did not end well")?;
    Ok(Outcome::default().checked("counts, times, and that it goes on", problems))
}

/// Times of verdicts are those of the clock as it was at the start.
fn times_are_unmoved(verdicts: &str, began: SystemTime) -> Result<Vec<String>> {
    let limit = humantime::format_rfc3339_micros(began + STEP / 2).to_string();
    let mut problems = Vec::new();
    for line in verdicts.lines() {
        let verdict: Value = serde_json::from_str(line)?;
        let time = verdict["time"].as_str().context("a verdict without a time")?;
        if time > limit.as_str() {
            problems.push(format!("a verdict of {time}, and it was before {limit}"));
        }
    }
    if verdicts.lines().next().is_none() {
        problems.push("there is no verdict".to_owned());
    }
    Ok(problems)
}
