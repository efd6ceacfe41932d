//! `ipvs-port-conflict` without any loss on the way: one source port asks two
//! virtual addresses in turn, and one real server is behind both. IPVS looks an
//! answer's connection up by client and real server only, finds the newer one,
//! and the answer comes from the other virtual address.

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, IPVS_CLIENT, IPVS_DNS, SECOND_IPVS_DNS};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::ipvs;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "ipvs-crossed-answer",
    about: "one source port, two virtual addresses, one real server: the answer has the wrong one",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PORT: u16 = 5356;
const LOST: u16 = 3;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let client = stage.pod(&IPVS_CLIENT)?;
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    ipvs::service(stage.node, IPVS_DNS, &[COREDNS_0])?;
    ipvs::service(stage.node, SECOND_IPVS_DNS, &[COREDNS_0])?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    // A resolver draws its ids; no two of these are the same.
    let ask = |service, same_id, count| {
        let args = query::Args {
            source_port: PORT,
            timeout_ms: 250,
            same_id,
            ..query::Args::new(service, count)
        };
        stage.programs.query(client, &args)?.report()
    };
    let first = ask(IPVS_DNS, Some(700), 1)?;
    let second = ask(SECOND_IPVS_DNS, Some(701), 1)?;
    let again = ask(IPVS_DNS, None, LOST)?;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.healthy(&IPVS_CLIENT.label(), &first)?;
    expectation.healthy(&IPVS_CLIENT.label(), &second)?;
    expectation.loses(&IPVS_CLIENT.label(), &again, "ipvs-port-conflict")?;
    Ok(Outcome::new(expectation, watch.finish()?)
        .also(same("answers from the other address", again.alien, again.lost()))
        .also(same("every answer is crossed", again.lost(), LOST.into())))
}
