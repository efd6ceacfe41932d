//! `send-failed`: the send call itself returns an error that no other cause
//! explains. The send buffer is full and the socket does not wait; a program
//! on the pod's cgroup refuses, before there is a packet; the socket still has
//! an error to tell from the query before.

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{
    CART, COREDNS_0, COREDNS_1, COREDNS_GONE, DNS, IPVS_CLIENT, VICTIM, WORKER,
};
use crate::lab::cgroup_filter::{Place, refuse};
use crate::lab::counters::protocol;
use crate::lab::firewall::{Balance, Rules};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "send-failed",
    about: "the send call fails: EAGAIN, EPERM from the cgroup, a pending ECONNREFUSED",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const CAUSE: &str = "send-failed";
const BURST: u16 = 50;
/// What does not fit into the bucket waits, and takes up the send buffer.
const SHAPER: &str = "tbf rate 64kbit burst 2000 limit 1000000";

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    let slow = stage.pod(&VICTIM)?.namespace();
    let _shaper = slow.run_until_dropped(
        &format!("tc qdisc add dev eth0 root {SHAPER}"),
        "tc qdisc delete dev eth0 root",
    )?;
    let _refusal = refuse(stage.pod(&WORKER)?.cgroup(), Place::SendMsg)?;
    let watch = stage.top()?;
    let before = protocol(slow, "Udp", "SndbufErrors")?;
    let healthy = stage.healthy_pod(DNS)?;
    let full = query::Args {
        burst: true,
        nonblocking: true,
        send_buffer: Some(2304), // the kernel doubles it
        ..query::Args::new(DNS, BURST)
    };
    let few = query::Args { timeout_ms: 150, ..query::Args::new(DNS, 4) };
    let pending =
        query::Args { burst: true, connected: true, ..query::Args::new(COREDNS_GONE.address(), 8) };
    let start = |spec, args| stage.programs.query(stage.pod(spec)?, args);
    let clients = (start(&VICTIM, &full)?, start(&WORKER, &few)?, start(&IPVS_CLIENT, &pending)?);
    let full = clients.0.report()?;
    let in_call = clients.1.report()?;
    let pending = clients.2.report()?;
    let no_room = protocol(slow, "Udp", "SndbufErrors")? - before;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.loses(&VICTIM.label(), &full, CAUSE)?;
    expectation.loses(&WORKER.label(), &in_call, CAUSE)?;
    expectation.loses_each(&IPVS_CLIENT.label(), &pending, |query| {
        if query.send_error.is_some() { CAUSE } else { "no-listener" }
    })?;
    Ok(Outcome::new(expectation, watch.finish()?)
        .also(same("EAGAIN and losses", full.send_errors_of("EAGAIN"), full.lost()))
        .also(same("the kernel's SndbufErrors and losses", no_room, full.lost()))
        .also(same("EPERM from the system call", in_call.send_errors_of("EPERM"), 4))
        .also(same(
            "every other send told of the one before",
            pending.send_errors_of("ECONNREFUSED"),
            4,
        )))
}
