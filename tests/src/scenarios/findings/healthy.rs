//! Nothing is wrong: real resolvers and short names over two servers, chosen at
//! random. `diagnose` finds nothing, says what it ruled out, and exits with 0.

use std::time::Duration;

use anyhow::Result;

use super::{Outcome, Scenario, Stage, compare, scenario};
use crate::client::query;
use crate::client::resolver::Resolver;
use crate::lab::cast::{API, COREDNS_0, COREDNS_1, DNS, FRONTEND, VICTIM, WORKER};
use crate::lab::clients::{Lookup, Pace};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::NAME;

pub(in crate::scenarios) const SCENARIO: Scenario = scenario(
    "diagnose-healthy",
    "glibc, musl and Go resolve short and full names: no finding, exit code 0",
    run,
);

const SERVERS: [crate::lab::spec::Spec; 2] = [COREDNS_0, COREDNS_1];

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .bridge_service(DNS, &SERVERS, Balance::Random)
        .service(DNS, &SERVERS, Balance::Random)
        .load(stage.node)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    // `cart` exists with the first suffix, `cart.shop` with the second.
    let resolving = [
        (FRONTEND, Resolver::Glibc, "cart"),
        (API, Resolver::Go, NAME),
        (WORKER, Resolver::Musl, "cart.shop"),
    ];
    let clients = resolving
        .into_iter()
        .map(|(spec, resolver, name)| {
            let pace = Pace::Every(Duration::from_millis(50));
            let lookup = Lookup { name, count: 8, pace, options: None };
            stage.programs.resolve(stage.pod(&spec)?, resolver, 1, lookup)
        })
        .collect::<Result<Vec<_>>>()?;
    let flows = query::Args { fresh_port: true, ..query::Args::new(DNS, 80) };
    let sent = stage.programs.query(stage.pod(&VICTIM)?, &flows)?.report()?;
    healthy.report()?;
    for client in clients {
        let lookups = client.lookups()?;
        anyhow::ensure!(lookups.failed == 0, "{} look-ups failed", lookups.failed);
    }
    compare(watch, &[], |diagnosis| {
        let ruled_out: Vec<&str> =
            diagnosis.ruled_out.iter().map(|item| item.what.as_str()).collect();
        let needed = ["lost-queries", "failed-answers", "slow-answers", "near-misses"];
        let missing = needed.iter().filter(|what| !ruled_out.contains(what));
        let mut problems: Vec<String> =
            missing.map(|what| format!("{what} is not ruled out: {ruled_out:?}")).collect();
        if diagnosis.queries < sent.sent || diagnosis.ruled_out[0].of != diagnosis.queries {
            problems.push(format!("{} queries, {:?}", diagnosis.queries, diagnosis.ruled_out));
        }
        problems
    })
}
