//! `stale-nat-entry` of a masqueraded flow: its backend's address leads out by
//! another device by now. The kernel deletes the entry and drops the packet that
//! shows it; the next one from the same port starts anew.

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, COREDNS_GONE, DNS, SECOND_DNS, VICTIM};
use crate::lab::firewall::Rules;
use crate::lab::gone::{Gone, Route};
use crate::lab::nftables::{self, Service};
use crate::lab::server;
use crate::lab::spec::Spec;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "stale-masquerade",
    about: "a masqueraded entry's packets would leave by another device: one query is dropped",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PORT: u16 = 5359;

fn lead_to(stage: &Stage<'_>, second: Spec) -> Result<()> {
    let services = [(DNS, vec![COREDNS_0, COREDNS_1]), (SECOND_DNS, vec![second])]
        .map(|(address, backends)| Service { address, backends, masquerade: true });
    nftables::load(stage.node, &services)
}

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().load(stage.node)?;
    lead_to(stage, COREDNS_GONE)?;
    let leaving = server::start(stage.pod(&COREDNS_GONE)?, &server::Options::default())?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let ask = |count| {
        let args = query::Args {
            source_port: PORT,
            timeout_ms: 200,
            ..query::Args::new(SECOND_DNS, count)
        };
        stage.programs.query(stage.pod(&VICTIM)?, &args)?.report()
    };
    let before = ask(2)?;
    lead_to(stage, COREDNS_0)?;
    drop(leaving);
    let _gone = Gone::new(stage.node, COREDNS_GONE, Route::Default)?;
    let after = ask(4)?;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.healthy(&VICTIM.label(), &before)?;
    expectation.loses(&VICTIM.label(), &after, "stale-nat-entry")?;
    Ok(Outcome::new(expectation, watch.finish()?).also(same(
        "only the first is lost",
        after.lost(),
        1,
    )))
}
