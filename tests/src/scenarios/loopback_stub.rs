//! A stub resolver inside a pod, on 127.0.0.53: pods may have the same loopback
//! addresses and ports, and are told apart. Two pods with stubs are answered;
//! one stub is gone later, and only its pod loses.

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, STUB_DNS, VICTIM, WORKER};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "loopback-stub",
    about: "stubs on 127.0.0.53 in two pods, same ports and ids; then one of them is gone",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PORT: u16 = 5358;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    let options = server::Options { listen: Some(STUB_DNS), ..server::Options::default() };
    let leaving = server::start(stage.pod(&VICTIM)?, &options)?;
    let _staying = server::start(stage.pod(&WORKER)?, &options)?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    // Both pods use the same addresses, ports and ids.
    let queries = |count| query::Args {
        source_port: PORT,
        timeout_ms: 200,
        interval_ms: 10,
        connected: true,
        ..query::Args::new(STUB_DNS, count)
    };
    let both = |count| -> Result<_> {
        let one = stage.programs.query(stage.pod(&VICTIM)?, &queries(count))?;
        let other = stage.programs.query(stage.pod(&WORKER)?, &queries(count))?;
        Ok((one.report()?, other.report()?))
    };
    let mut expectation = Expectation::default();
    let (one, other) = both(10)?;
    expectation.healthy(&VICTIM.label(), &one)?;
    expectation.healthy(&WORKER.label(), &other)?;
    drop(leaving);
    let (one, other) = both(4)?;
    expectation.loses(&VICTIM.label(), &one, "no-listener")?;
    expectation.healthy(&WORKER.label(), &other)?;
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    Ok(Outcome::new(expectation, watch.finish()?).also(same(
        "errors on the connected socket",
        one.refused,
        one.lost(),
    )))
}
