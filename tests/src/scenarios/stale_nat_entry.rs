//! `stale-nat-entry`: kube-proxy has replaced a service's backend, but the
//! conntrack entry of a kept source port still translates to the old one, whose
//! pod is gone. Three pods meet it at three stages: nothing listens any more,
//! the address leads nowhere, the node says host unreachable.

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::{Report, query};
use crate::expectation::Expectation;
use crate::lab::cast::{
    API, CART, COREDNS_0, COREDNS_1, COREDNS_GONE, DNS, SECOND_DNS, VICTIM, WORKER,
};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::gone::{Gone, Route};
use crate::lab::server;
use crate::lab::spec::Spec;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "stale-nat-entry",
    about: "the entry of a kept source port translates to a backend that was replaced and is gone",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PORT: u16 = 5355;
const LOST: u16 = 3;

/// The service of the clients leads to `backend` from now on; entries stay.
fn lead_to(stage: &Stage<'_>, backend: Spec) -> Result<()> {
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .service(SECOND_DNS, &[backend], Balance::Random)
        .load(stage.node)
}

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    lead_to(stage, COREDNS_GONE)?;
    let leaving = server::start(stage.pod(&COREDNS_GONE)?, &server::Options::default())?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let mut expectation = Expectation::default();
    let ask = |spec: &Spec, source_port, count| -> Result<Report> {
        let args = query::Args {
            source_port,
            fresh_port: source_port == 0,
            timeout_ms: 150,
            ..query::Args::new(SECOND_DNS, count)
        };
        stage.programs.query(stage.pod(spec)?, &args)?.report()
    };
    for spec in [API, VICTIM, WORKER] {
        expectation.healthy(&spec.label(), &ask(&spec, PORT, 2)?)?;
    }

    lead_to(stage, COREDNS_0)?;
    drop(leaving);
    let closed = ask(&API, PORT, LOST)?;
    let gone = Gone::new(stage.node, COREDNS_GONE, Route::Default)?;
    let silent = ask(&VICTIM, PORT, LOST)?;
    drop(gone);
    let gone = Gone::new(stage.node, COREDNS_GONE, Route::Unreachable)?;
    let told = ask(&WORKER, PORT, LOST)?;
    drop(gone);
    for spec in [API, VICTIM, WORKER] {
        expectation.healthy(&spec.label(), &ask(&spec, 0, 2)?)?;
    }

    expectation.healthy(&CART.label(), &healthy.report()?)?;
    let mut problems = Vec::new();
    for (spec, report) in [(API, closed), (VICTIM, silent), (WORKER, told)] {
        expectation.loses(&spec.label(), &report, "stale-nat-entry")?;
        problems.extend(same("every query of the kept port is lost", report.lost(), LOST.into()));
    }
    Ok(Outcome::new(expectation, watch.finish()?).also(problems))
}
