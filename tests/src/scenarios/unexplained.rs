//! `unexplained`: in the pod a route leads to a device that takes every packet
//! and does away with it as if it had been sent. No drop, no error, no server,
//! and not out of the node: dnsprobe must blame nobody.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "unexplained",
    about: "a device in the pod swallows the queries: nothing is seen to happen",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

/// Behind the device.
const SWALLOWED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 99);

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    let inside = stage.pod(&VICTIM)?.namespace();
    let _device =
        inside.run_until_dropped("ip link add swallow0 type dummy", "ip link delete swallow0")?;
    inside.ip(&format!("link set swallow0 up\nroute add {SWALLOWED} dev swallow0\n"))?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let queries = query::Args { timeout_ms: 150, ..query::Args::new(SWALLOWED, 5) };
    let report = stage.programs.query(stage.pod(&VICTIM)?, &queries)?.report()?;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.loses(&VICTIM.label(), &report, "unexplained")?;
    Ok(Outcome::new(expectation, watch.finish()?))
}
