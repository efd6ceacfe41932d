//! `nxdomain`: a name outside the cluster does not exist, with no suffix; the
//! server says so itself. One failed look-up is counted once, whatever number
//! of names the resolver tried.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Outcome, Scenario, Stage, compare, count, item, scenario};
use crate::client::resolver::Resolver;
use crate::lab::cast::{COREDNS_DEAF, DNS, VICTIM, WORKER};
use crate::lab::clients::{Lookup, Pace};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::MISSING_OUTSIDE;

pub(in crate::scenarios) const SCENARIO: Scenario =
    scenario("nxdomain", "glibc and musl look up an external name that does not exist", run);

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_DEAF], Balance::Random).load(stage.node)?;
    let _server = stage.knows_outside(&COREDNS_DEAF)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    for (spec, resolver) in [(VICTIM, Resolver::Glibc), (WORKER, Resolver::Musl)] {
        let pace = Pace::Every(Duration::from_millis(400));
        let lookup = Lookup { name: MISSING_OUTSIDE, count: 2, pace, options: None };
        let lookups = stage.programs.resolve(stage.pod(&spec)?, resolver, 1, lookup)?.lookups()?;
        ensure!(lookups.failed == 2, "the name exists for {resolver:?}");
    }
    healthy.report()?;
    compare(watch, &[("nxdomain", &VICTIM), ("nxdomain", &WORKER)], |diagnosis| {
        let by = |label: String| format!("{MISSING_OUTSIDE}. by {label}");
        [
            count(diagnosis, "nxdomain", 4),
            item(diagnosis, "nxdomain", &by(VICTIM.label()), 2),
            item(diagnosis, "nxdomain", &by(WORKER.label()), 2),
        ]
        .concat()
    })
}
