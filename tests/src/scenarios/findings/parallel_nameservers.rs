//! `parallel-nameservers`: musl sends each question to both its nameservers at
//! once. glibc, with one, does not.

use std::time::Duration;

use anyhow::Result;

use super::{Outcome, Scenario, Stage, compare, count, scenario};
use crate::client::resolver::Resolver;
use crate::lab::cast::{COREDNS_0, COREDNS_1, DNS, SECOND_DNS, TWO_NAMESERVERS, VICTIM};
use crate::lab::clients::{Lookup, Pace};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::NAME;

pub(in crate::scenarios) const SCENARIO: Scenario =
    scenario("parallel-nameservers", "musl asks two nameservers at once", run);

const LOOKUPS: u32 = 4;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_1], Balance::Random)
        .load(stage.node)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    let pace = Pace::Every(Duration::from_millis(50));
    let lookup = Lookup { name: NAME, count: LOOKUPS, pace, options: None };
    let resolvers = [(TWO_NAMESERVERS, Resolver::Musl, 2), (VICTIM, Resolver::Glibc, 1)];
    for (spec, resolver, nameservers) in resolvers {
        let pod = stage.pod(&spec)?;
        stage.programs.resolve(pod, resolver, nameservers, lookup)?.lookups()?;
    }
    healthy.report()?;
    compare(watch, &[("parallel-nameservers", &TWO_NAMESERVERS)], |diagnosis| {
        // A and AAAA of each.
        count(diagnosis, "parallel-nameservers", u64::from(2 * LOOKUPS))
    })
}
