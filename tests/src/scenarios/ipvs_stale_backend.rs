//! `ipvs-stale-backend`: a client that keeps its source port is still mapped
//! to a real server that was taken out. Its packets vanish; other ports work.

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, IPVS_CLIENT, IPVS_DNS};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::ipvs;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "ipvs-stale-backend",
    about: "the real server of a kept source port is removed: its queries vanish",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PORT: u16 = 5353;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let client = stage.pod(&IPVS_CLIENT)?;
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    ipvs::service(stage.node, IPVS_DNS, &[COREDNS_0, COREDNS_1])?;
    ipvs::keep_stale_connections(stage.node)?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let from_port = |count| query::Args {
        source_port: PORT,
        timeout_ms: 200,
        ..query::Args::new(IPVS_DNS, count)
    };
    let ask = |args: &query::Args| stage.programs.query(client, args)?.report();

    let before = ask(&from_port(3))?;
    let backend = ipvs::backend_of(stage.node, client.spec().address(), PORT)?;
    ipvs::remove_backend(stage.node, IPVS_DNS, backend)?;
    let after = ask(&from_port(5))?;
    let others = ask(&query::Args { fresh_port: true, ..query::Args::new(IPVS_DNS, 3) })?;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.healthy(&IPVS_CLIENT.label(), &before)?;
    expectation.loses(&IPVS_CLIENT.label(), &after, "ipvs-stale-backend")?;
    expectation.healthy(&IPVS_CLIENT.label(), &others)?;
    Ok(Outcome::new(expectation, watch.finish()?))
}
