//! Queries over TCP that are never answered: the server takes the connection
//! and the query and keeps silent. The loss is that server's, through a service
//! as well as without.

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::tcp::{Args, Style};
use crate::expectation::Expectation;
use crate::lab::cast::{
    API, CART, COREDNS_0, COREDNS_1, COREDNS_GONE, DNS, SECOND_DNS, VICTIM, WORKER,
};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::respond;
use crate::lab::spec::Spec;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "tcp-lost",
    about: "a server reads queries over TCP and never answers",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const SERVERS: [Spec; 2] = [COREDNS_0, COREDNS_1];
const CAUSE: &str = "server-silent";

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &SERVERS, Balance::Random)
        .tcp_service(SECOND_DNS, &[COREDNS_GONE])
        .load(stage.node)?;
    let silent = respond::Args { tcp_silent: true, ..respond::Args::default() };
    let _server = stage.programs.respond(stage.pod(&COREDNS_GONE)?, &silent)?;
    let ask =
        |server: std::net::Ipv4Addr, style| Args { timeout_ms: 150, ..Args::new(server, 3, style) };
    let ways = [
        (VICTIM, ask(SECOND_DNS, Style::PerQuery)),
        (WORKER, ask(COREDNS_GONE.address(), Style::Pipelined)),
    ];
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let clients = ways
        .iter()
        .map(|(spec, args)| Ok((*spec, stage.programs.tcp(stage.pod(spec)?, args)?)))
        .collect::<Result<Vec<_>>>()?;
    let over_udp = crate::client::query::Args::new(COREDNS_0.address(), 3);
    let over_udp = stage.programs.query(stage.pod(&API)?, &over_udp)?;

    let mut expectation = Expectation::default();
    for (spec, client) in clients {
        expectation.loses(&spec.label(), &client.report()?, CAUSE)?;
    }
    expectation.healthy(&API.label(), &over_udp.report()?)?;
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    Ok(Outcome::new(expectation, watch.finish()?))
}
