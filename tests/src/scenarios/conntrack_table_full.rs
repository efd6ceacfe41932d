//! `conntrack-table-full`: the table takes ten entries and no more. The
//! healthy pod's packets are not tracked, as with a node-local cache.

use anyhow::{Result, ensure};

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::setting::Setting;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "conntrack-table-full",
    about: "nf_conntrack_max is reached: new flows get no entry",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const MAX: &str = "net/netfilter/nf_conntrack_max";

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let cart = CART.address();
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .rule("raw", format!("-A PREROUTING -s {cart} -j CT --notrack"))
        .rule("raw", format!("-A PREROUTING -d {cart} -j CT --notrack"))
        .load(stage.node)?;
    let watch = stage.top()?;
    let limit = Setting::set(stage.node, MAX, "10")?;
    let healthy = stage.healthy_pod(COREDNS_0.address())?;
    let queries = query::Args { fresh_port: true, timeout_ms: 100, ..query::Args::new(DNS, 25) };
    let report = stage.programs.query(stage.pod(&VICTIM)?, &queries)?.report()?;
    let healthy = healthy.report()?;
    drop(limit);
    ensure!(report.answered > 0, "not one query found room in the table");

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy)?;
    expectation.loses(&VICTIM.label(), &report, "conntrack-table-full")?;
    Ok(Outcome::new(expectation, watch.finish()?))
}
