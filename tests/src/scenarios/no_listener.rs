//! `no-listener`: the service leads to a pod in which nothing listens. A
//! connected socket is told by ICMP, an unconnected one waits in vain; both are
//! the same loss. Watched with `dnsprobe trace`.

use anyhow::Result;

use super::stage::{LOST_AFTER, Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, COREDNS_GONE, DNS, SECOND_DNS, VICTIM, WORKER};
use crate::lab::dnsprobe::Mode;
use crate::lab::firewall::{Balance, Rules};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "no-listener",
    about: "the service's backend has no DNS server: port unreachable",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_GONE], Balance::Random)
        .load(stage.node)?;
    let watch = stage.watch(Mode::Trace, LOST_AFTER)?;
    let healthy = stage.healthy_pod(DNS)?;
    let unconnected = query::Args { timeout_ms: 150, ..query::Args::new(SECOND_DNS, 4) };
    let connected = query::Args { connected: true, ..unconnected.clone() };
    let told = stage.programs.query(stage.pod(&VICTIM)?, &connected)?.report()?;
    let waited = stage.programs.query(stage.pod(&WORKER)?, &unconnected)?.report()?;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.loses(&VICTIM.label(), &told, "no-listener")?;
    expectation.loses(&WORKER.label(), &waited, "no-listener")?;
    Ok(Outcome::new(expectation, watch.finish()?)
        .also(same("errors on the connected socket", told.refused, told.sent))
        .also(same("errors on the unconnected socket", waited.refused, 0)))
}
