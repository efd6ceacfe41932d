//! Nothing is wrong with musl asking two nameservers at once and closing its
//! socket with the first one's answers: what the slower one sends later is
//! nobody's loss. Those queries count as not followed.

use std::time::Duration;

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::Report;
use crate::client::resolver::Resolver;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, SECOND_DNS, TWO_NAMESERVERS};
use crate::lab::clients::{Lookup, Pace};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::{self, NAME};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "musl-two-nameservers",
    about: "musl closes its socket with the faster server's answers: no loss, no verdict",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const SLOWER: Duration = Duration::from_millis(150);
const LOOKUPS: u32 = 4;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_1], Balance::Random)
        .load(stage.node)?;
    server::set_delay(stage.pod(&COREDNS_1)?, server::TO_PODS, SLOWER)?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let lookup = Lookup {
        name: NAME,
        count: LOOKUPS,
        pace: Pace::Every(Duration::from_millis(50)),
        options: None,
    };
    let musl = stage.pod(&TWO_NAMESERVERS)?;
    let asked = stage.programs.resolve(musl, Resolver::Musl, 2, lookup)?.report()?;

    // Every look-up ends with the faster server's two answers.
    let report = Report { answered: asked.sent / 2, ..asked };
    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.abandons(&TWO_NAMESERVERS.label(), &report)?;
    Ok(Outcome::new(expectation, watch.finish()?))
}
