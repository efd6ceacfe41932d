//! `remote-silence`: a resolver outside the node. The queries leave,
//! masqueraded, through a device that swallows them; nothing ever comes back.

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, REMOTE_RESOLVER, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::node::UPLINK;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "remote-silence",
    about: "queries leave the node and nothing comes back",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .rule("nat", format!("-A POSTROUTING -o {UPLINK} -j MASQUERADE"))
        .load(stage.node)?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let queries = query::Args { timeout_ms: 150, ..query::Args::new(REMOTE_RESOLVER, 5) };
    let report = stage.programs.query(stage.pod(&VICTIM)?, &queries)?.report()?;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.loses(&VICTIM.label(), &report, "remote-silence")?;
    Ok(Outcome::new(expectation, watch.finish()?))
}
