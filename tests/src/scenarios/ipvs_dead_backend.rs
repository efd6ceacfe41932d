//! `ipvs-dead-backend`: the real server was set to weight 0 (graceful
//! termination) and its pod is gone. A client that keeps its source port is
//! sent there for good; other ports never reach it. Once with the pod's address
//! leading out of the node, once into a blackhole.

use anyhow::{Result, ensure};

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, COREDNS_GONE, DNS, IPVS_CLIENT, IPVS_DNS};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::gone::{Gone, Route};
use crate::lab::{ipvs, server};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "ipvs-dead-backend",
    about: "the real server of a kept source port has weight 0 and its pod is gone",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PORT: u16 = 5354;
const LOST: u16 = 3;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let client = stage.pod(&IPVS_CLIENT)?;
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    ipvs::service(stage.node, IPVS_DNS, &[COREDNS_GONE])?;
    let leaving = server::start(stage.pod(&COREDNS_GONE)?, &server::Options::default())?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let from_port = |count| query::Args {
        source_port: PORT,
        timeout_ms: 200,
        ..query::Args::new(IPVS_DNS, count)
    };
    let ask = |args: &query::Args| stage.programs.query(client, args)?.report();

    let before = ask(&from_port(3))?;
    ipvs::set_weight(stage.node, IPVS_DNS, COREDNS_GONE.address(), 0)?;
    ipvs::add_backend(stage.node, IPVS_DNS, COREDNS_0.address())?;
    drop(leaving);
    let gone = Gone::new(stage.node, COREDNS_GONE, Route::Default)?;
    let left = ask(&from_port(LOST))?;
    drop(gone);
    let gone = Gone::new(stage.node, COREDNS_GONE, Route::Blackhole)?;
    let vanished = ask(&from_port(LOST))?;
    drop(gone);
    let others = ask(&query::Args { fresh_port: true, ..query::Args::new(IPVS_DNS, 3) })?;
    let backend = ipvs::backend_of(stage.node, client.spec().address(), PORT)?;
    ensure!(backend == COREDNS_GONE.address(), "IPVS moved the connection to {backend}");

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.healthy(&IPVS_CLIENT.label(), &before)?;
    expectation.loses(&IPVS_CLIENT.label(), &left, "ipvs-dead-backend")?;
    expectation.loses(&IPVS_CLIENT.label(), &vanished, "ipvs-dead-backend")?;
    expectation.healthy(&IPVS_CLIENT.label(), &others)?;
    Ok(Outcome::new(expectation, watch.finish()?).also(same(
        "all queries of the kept port are lost",
        left.lost() + vanished.lost(),
        u64::from(2 * LOST),
    )))
}
