//! `ipvs-no-backend`: a virtual service without a usable real server: none at
//! all, or only one that takes no new connections (weight 0). IPVS answers with
//! ICMP port unreachable and drops the query.

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{
    CART, COREDNS_0, COREDNS_1, DNS, IPVS_CLIENT, IPVS_DNS, SECOND_IPVS_DNS, VICTIM,
};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::ipvs;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "ipvs-no-backend",
    about: "a virtual service has no real server, or only one of weight 0",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    ipvs::service(stage.node, IPVS_DNS, &[])?;
    ipvs::service(stage.node, SECOND_IPVS_DNS, &[COREDNS_1])?;
    ipvs::set_weight(stage.node, SECOND_IPVS_DNS, COREDNS_1.address(), 0)?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let to = |service| query::Args { timeout_ms: 150, ..query::Args::new(service, 5) };
    let connected = query::Args { connected: true, ..to(IPVS_DNS) };
    let none = stage.programs.query(stage.pod(&IPVS_CLIENT)?, &connected)?.report()?;
    let quiescent = stage.programs.query(stage.pod(&VICTIM)?, &to(SECOND_IPVS_DNS))?.report()?;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.loses(&IPVS_CLIENT.label(), &none, "ipvs-no-backend")?;
    expectation.loses(&VICTIM.label(), &quiescent, "ipvs-no-backend")?;
    Ok(Outcome::new(expectation, watch.finish()?).also(same(
        "errors on the connected socket",
        none.refused,
        none.sent,
    )))
}
