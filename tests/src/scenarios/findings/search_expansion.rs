//! `search-expansion`: an external name with fewer dots than `ndots` costs four
//! names; with a dot at its end it costs one.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Outcome, Scenario, Stage, compare, count, item, scenario};
use crate::client::resolver::Resolver;
use crate::lab::cast::{API, COREDNS_DEAF, DNS, VICTIM, WORKER};
use crate::lab::clients::{Lookup, Pace};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::OUTSIDE;

pub(in crate::scenarios) const SCENARIO: Scenario =
    scenario("search-expansion", "an external name is tried with every suffix first", run);

const LOOKUPS: u32 = 4;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_DEAF], Balance::Random).load(stage.node)?;
    let _server = stage.knows_outside(&COREDNS_DEAF)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    let absolute = format!("{OUTSIDE}.");
    for (spec, resolver, name) in [
        (VICTIM, Resolver::Glibc, OUTSIDE),
        (WORKER, Resolver::Musl, OUTSIDE),
        (API, Resolver::Go, absolute.as_str()),
    ] {
        let pace = Pace::Every(Duration::from_millis(400));
        let lookup = Lookup { name, count: LOOKUPS, pace, options: None };
        let lookups = stage.programs.resolve(stage.pod(&spec)?, resolver, 1, lookup)?.lookups()?;
        ensure!(lookups.failed == 0, "{resolver:?} does not find the name");
    }
    healthy.report()?;
    const CODE: &str = "search-expansion";
    compare(watch, &[(CODE, &VICTIM), (CODE, &WORKER)], |diagnosis| {
        let of_both = u64::from(2 * LOOKUPS);
        let suffix =
            |suffix: &str| item(diagnosis, CODE, &format!("suffix {suffix}.: NXDOMAIN"), of_both);
        [
            count(diagnosis, CODE, of_both),
            suffix("shop.svc.cluster.local"),
            suffix("svc.cluster.local"),
            suffix("cluster.local"),
            item(diagnosis, CODE, "no suffix: exists", of_both),
        ]
        .concat()
    })
}
