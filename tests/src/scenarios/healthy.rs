//! Nothing is wrong: real resolvers, a measuring client and a process outside
//! any pod ask servers that take 20 ms. Every query is counted for the right
//! owner, and not one verdict is raised.

use std::time::Duration;

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::client::resolver::Resolver;
use crate::expectation::Expectation;
use crate::lab::cast::{
    API, CART, COREDNS_0, COREDNS_1, DNS, DNS_V6, FRONTEND, VICTIM, WEB_V6, WORKER,
};
use crate::lab::clients::{Lookup, Pace};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::{self, MISSING_NAME, NAME};
use crate::lab::spec::Spec;
use crate::observed::Observed;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "healthy",
    about: "glibc, musl, Go and IPv6 clients against 20 ms servers: nothing to report",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const DELAY: Duration = Duration::from_millis(20);
const SERVERS: [Spec; 2] = [COREDNS_0, COREDNS_1];
const HOST_UNIT: &str = "lab-host.service";

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .bridge_service(DNS, &SERVERS, Balance::Random)
        .service(DNS, &SERVERS, Balance::Random)
        .service(DNS_V6, &SERVERS, Balance::Random)
        .load(stage.node)?;
    for server in &SERVERS {
        server::set_delay(stage.pod(server)?, server::TO_PODS, DELAY)?;
        server::set_delay(stage.pod(server)?, server::TO_BRIDGE, DELAY)?;
    }
    let watch = stage.top()?;
    let mut expectation = Expectation::default();

    let resolvers = [
        (FRONTEND, Resolver::Glibc),
        (API, Resolver::Go),
        (WORKER, Resolver::Musl),
        (WEB_V6, Resolver::Glibc),
    ];
    let lookup = Lookup {
        name: NAME,
        count: 8,
        pace: Pace::Every(Duration::from_millis(50)),
        options: None,
    };
    let resolvers = resolvers
        .into_iter()
        .map(|(spec, resolver)| {
            Ok((spec, stage.programs.resolve(stage.pod(&spec)?, resolver, 1, lookup)?))
        })
        .collect::<Result<Vec<_>>>()?;
    let healthy = stage.healthy_pod(DNS)?;
    let missing = query::Args { name: MISSING_NAME.into(), ..query::Args::new(DNS, 8) };
    let missing = stage.programs.query(stage.pod(&VICTIM)?, &missing)?;
    let from_host = query::Args::new(COREDNS_0.address(), 8);
    let from_host = stage.programs.query_on_host(stage.node, HOST_UNIT, &from_host)?;
    for (spec, client) in resolvers {
        expectation.healthy(&spec.label(), &client.report()?)?;
    }
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.healthy(&VICTIM.label(), &missing.report()?)?;
    expectation.healthy(&format!("host/{HOST_UNIT}"), &from_host.report()?)?;

    let asked = expectation.queries();
    let observed = watch.finish()?;
    let problems = server_problems(&observed, asked);
    Ok(Outcome::new(expectation, observed).also(problems))
}

/// Both servers run here, so what the clients sent is what they got; and on a
/// guest nothing keeps dnsprobe from seeing everything.
fn server_problems(observed: &Observed, asked: u64) -> Vec<String> {
    let mut problems = Vec::new();
    let mut arrived = 0;
    for row in observed.last.pods.iter().filter(|row| row.role == "server") {
        arrived += row.total.queries;
        if !SERVERS.iter().any(|server| server.label() == row.owner.label) {
            problems.push(format!("{} is no server", row.owner.label));
        }
        if row.total.lost_total > 0 {
            problems.push(format!("server {} lost {}", row.owner.label, row.total.lost_total));
        }
    }
    problems.extend(same("queries of the servers and of the clients", arrived, asked));
    if !observed.last.completeness.complete {
        problems.push(format!("not complete: {:?}", observed.last.completeness.missing));
    }
    problems
}
