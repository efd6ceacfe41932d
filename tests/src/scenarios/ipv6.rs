//! The same over IPv6: a healthy glibc pod whose nameserver is an IPv6 service
//! address, a collision of reply tuples, and a policy drop.

use std::time::Duration;

use anyhow::Result;

use super::evidence::{Collision, clash_problems};
use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::resolver::Resolver;
use crate::client::{pair, query};
use crate::expectation::Expectation;
use crate::lab::cast::{COREDNS_0, DNS_V6, SECOND_DNS_V6, VICTIM, WEB_V6, WORKER};
use crate::lab::clients::{Lookup, Pace};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::hold;
use crate::lab::server::NAME;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "ipv6",
    about: "healthy, clashing and filtered queries over IPv6",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const QUEUE: u16 = 7;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let (clashing, filtered) = (VICTIM, WORKER);
    Rules::default()
        .service(DNS_V6, &[COREDNS_0], Balance::Random)
        .service(SECOND_DNS_V6, &[COREDNS_0], Balance::Random)
        .rule_v6("nat", hold::rule(&clashing.address_v6().to_string(), QUEUE))
        .rule_v6(
            "filter",
            format!("-A FORWARD -s {} -p udp --dport 53 -j DROP", filtered.address_v6()),
        )
        .load(stage.node)?;
    let _hold = stage.programs.hold(&hold::Args { queue: QUEUE, count: 2 })?;
    let watch = stage.top()?;
    let lookup = Lookup {
        name: NAME,
        count: 5,
        pace: Pace::Every(Duration::from_millis(50)),
        options: None,
    };
    let healthy = stage.programs.resolve(stage.pod(&WEB_V6)?, Resolver::Glibc, 1, lookup)?;
    let pairs = pair::Args {
        second_server: Some(SECOND_DNS_V6.into()),
        pairs: 3,
        ..pair::Args::new(DNS_V6)
    };
    let clashed = stage.programs.pair(stage.pod(&clashing)?, &pairs)?.report()?;
    let queries = query::Args { timeout_ms: 150, ..query::Args::new(DNS_V6, 3) };
    let dropped = stage.programs.query(stage.pod(&filtered)?, &queries)?.report()?;

    let mut expectation = Expectation::default();
    expectation.healthy(&WEB_V6.label(), &healthy.report()?)?;
    expectation.loses(&clashing.label(), &clashed, "conntrack-clash")?;
    expectation.loses(&filtered.label(), &dropped, "policy-drop")?;
    let observed = watch.finish()?;
    let problems = clash_problems(&observed, "conntrack-clash", Collision::Reply, true);
    Ok(Outcome::new(expectation, observed).also(problems))
}
