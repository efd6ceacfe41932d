//! Tasks that are interrupted in the middle of sending a query while another one sends
//! too: a kernel that preempts inside itself then skips a program of dnsprobe's for the
//! second one. Every query has to be counted all the same.

use anyhow::{Result, ensure};

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::preempt::Args;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "preempted-send",
    about: "a task loses its processor in the middle of sending, to one that sends too",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const QUERIES: u16 = 4000;
const EVERY_US: u64 = 400;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let args = Args { server: DNS.into(), queries: QUERIES, every_us: EVERY_US };
    let report = stage.programs.preempt(stage.pod(&VICTIM)?, &args)?.report()?;
    ensure!(report.answered == 2 * u64::from(QUERIES), "the lab is broken: queries were lost");

    let mut expectation = Expectation::default();
    expectation.healthy(&VICTIM.label(), &report)?;
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    Ok(Outcome::new(expectation, watch.finish()?))
}
