//! `socket-buffer-full`, both sides at once: a server that is stopped while
//! more queries arrive than its socket holds, and a client that does not read
//! while more answers arrive than its socket holds.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, COREDNS_GONE, DNS, VICTIM, WORKER};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::process::Process;
use crate::lab::server;
use crate::observed::Observed;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "socket-buffer-full",
    about: "a server that does not read its queries, a client that does not read its answers",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const CAUSE: &str = "socket-buffer-full";
const RMEM_DEFAULT: &str = "net/core/rmem_default";
const SMALL_BUFFER: usize = 4608;
const BURST: u16 = 40;
/// Long enough for all packets of a burst to arrive.
const ARRIVAL: Duration = Duration::from_millis(600);

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    let small = server_with_small_buffer(stage)?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;

    small.signal(Signal::SIGSTOP)?;
    let to_stopped = query::Args {
        burst: true,
        timeout_ms: 2000,
        ..query::Args::new(COREDNS_GONE.address(), BURST)
    };
    let to_stopped = stage.programs.query(stage.pod(&VICTIM)?, &to_stopped)?;
    let not_reading = query::Args {
        burst: true,
        receive_buffer: Some(SMALL_BUFFER / 2), // the kernel doubles it
        read_after_ms: ARRIVAL.as_millis().try_into()?,
        timeout_ms: 200,
        ..query::Args::new(DNS, BURST)
    };
    let not_reading = stage.programs.query(stage.pod(&WORKER)?, &not_reading)?;
    // Both bursts began together; when the second client is done with not
    // reading, the first one's queries have long arrived.
    let not_reading = not_reading.report()?;
    small.signal(Signal::SIGCONT)?;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.loses(&VICTIM.label(), &to_stopped.report()?, CAUSE)?;
    expectation.loses(&WORKER.label(), &not_reading, CAUSE)?;
    let observed = watch.finish()?;
    let problems = wrong_sides(&observed);
    Ok(Outcome::new(expectation, observed).also(problems))
}

/// A socket gets its size when it is made: lower the default for that moment.
fn server_with_small_buffer(stage: &Stage<'_>) -> Result<Process> {
    let namespace = stage.node.namespace();
    let before = namespace.read_sysctl(RMEM_DEFAULT)?;
    namespace.sysctl(&[&format!("{RMEM_DEFAULT}={SMALL_BUFFER}")])?;
    let server = server::start(stage.pod(&COREDNS_GONE)?, &server::Options::default());
    namespace.sysctl(&[&format!("{RMEM_DEFAULT}={before}")])?;
    server
}

/// The verdict must say whose socket was full.
fn wrong_sides(observed: &Observed) -> Vec<String> {
    let mut problems = Vec::new();
    for verdict in observed.verdicts.iter().filter(|verdict| verdict.cause == CAUSE) {
        let expected = if verdict.owner.label == VICTIM.label() { "server" } else { "client" };
        let side = verdict.evidence.iter().find_map(|fact| fact.get("side")?.as_str());
        if side != Some(expected) {
            problems.push(format!("{}: side is {side:?}, not {expected}", verdict.owner.label));
        }
    }
    problems.dedup();
    problems
}
