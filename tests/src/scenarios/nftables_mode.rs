//! kube-proxy's nftables mode, with and without masquerading: two healthy pods;
//! and a third whose kept source port follows its entry to a backend that the
//! map no longer leads to.

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{
    API, CART, COREDNS_0, COREDNS_1, COREDNS_GONE, DNS, SECOND_DNS, VICTIM, WORKER,
};
use crate::lab::firewall::Rules;
use crate::lab::gone::{Gone, Route};
use crate::lab::nftables::{self, Service};
use crate::lab::server;
use crate::lab::spec::Spec;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "nftables-mode",
    about: "services by nftables: two healthy pods, and a stale entry after a change of the map",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PORT: u16 = 5357;

/// The second service leads to `second` from now on; the first is masqueraded.
fn lead_to(stage: &Stage<'_>, second: Spec) -> Result<()> {
    let masqueraded =
        Service { address: DNS, backends: vec![COREDNS_0, COREDNS_1], masquerade: true };
    let plain = Service { address: SECOND_DNS, backends: vec![second], masquerade: false };
    nftables::load(stage.node, &[masqueraded, plain])
}

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().load(stage.node)?;
    lead_to(stage, COREDNS_GONE)?;
    let leaving = server::start(stage.pod(&COREDNS_GONE)?, &server::Options::default())?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let fresh =
        |service| query::Args { fresh_port: true, timeout_ms: 500, ..query::Args::new(service, 8) };
    let kept = |count| query::Args {
        source_port: PORT,
        timeout_ms: 150,
        ..query::Args::new(SECOND_DNS, count)
    };
    let ask =
        |spec: &Spec, args: &query::Args| stage.programs.query(stage.pod(spec)?, args)?.report();

    let mut expectation = Expectation::default();
    expectation.healthy(&WORKER.label(), &ask(&WORKER, &fresh(DNS))?)?;
    expectation.healthy(&API.label(), &ask(&API, &fresh(SECOND_DNS))?)?;
    expectation.healthy(&VICTIM.label(), &ask(&VICTIM, &kept(2))?)?;
    lead_to(stage, COREDNS_0)?;
    drop(leaving);
    let gone = Gone::new(stage.node, COREDNS_GONE, Route::Default)?;
    let stale = ask(&VICTIM, &kept(3))?;
    drop(gone);
    expectation.healthy(&VICTIM.label(), &ask(&VICTIM, &fresh(SECOND_DNS))?)?;
    expectation.loses(&VICTIM.label(), &stale, "stale-nat-entry")?;
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    Ok(Outcome::new(expectation, watch.finish()?))
}
