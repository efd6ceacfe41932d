//! A server that forwards: every look-up has two hops. A rule drops what the
//! proxy asks its upstream. The proxy loses its own queries by the rule; what
//! the pod asked was taken by the proxy and never answered.

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::{Report, query};
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, COREDNS_GONE, DNS, SECOND_DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "forwarding-proxy",
    about: "a forwarding server's own queries are dropped: the second hop is the proxy's loss",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const ANSWERED: u16 = 8;
const LOST: u16 = 4;
const PROXY: crate::lab::spec::Spec = COREDNS_GONE;

fn rules() -> Rules {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).service(
        SECOND_DNS,
        &[PROXY],
        Balance::Random,
    )
}

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    rules().load(stage.node)?;
    let options = server::Options {
        upstream: Some(COREDNS_0.address()),
        knows_nothing: true,
        ..server::Options::default()
    };
    let _proxy = server::start(stage.pod(&PROXY)?, &options)?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    // The proxy asks once for several who want the same at the same time.
    let ask = |count| {
        let args = query::Args {
            distinct_names: true,
            timeout_ms: 250,
            ..query::Args::new(SECOND_DNS, count)
        };
        stage.programs.query(stage.pod(&VICTIM)?, &args)?.report()
    };
    let answered = ask(ANSWERED)?;
    let (proxy, upstream) = (PROXY.address(), COREDNS_0.address());
    rules()
        .rule("filter", format!("-A FORWARD -s {proxy} -d {upstream} -p udp --dport 53 -j DROP"))
        .load(stage.node)?;
    let lost = ask(LOST)?;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.healthy(&VICTIM.label(), &answered)?;
    expectation.loses(&VICTIM.label(), &lost, "server-silent")?;
    // The proxy asks its upstream once for each query it gets.
    let once_each = Report { sent: answered.sent, answered: answered.sent, ..Report::default() };
    expectation.healthy(&PROXY.label(), &Report { rcodes: answered.rcodes, ..once_each })?;
    let dropped = Report { sent: lost.sent, ..Report::default() };
    expectation.loses(&PROXY.label(), &dropped, "policy-drop")?;
    Ok(Outcome::new(expectation, watch.finish()?))
}
