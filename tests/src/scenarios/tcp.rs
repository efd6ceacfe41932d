//! DNS over TCP, in every way that clients have: one connection per query and
//! many queries on one, in one call, in two, in pieces; over IPv6; through a
//! service; and glibc's resolver told to use TCP. Every query and answer is
//! counted at both ends. Where a header is cut in two it cannot be read, and
//! that is said.

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::resolver::Resolver;
use crate::client::tcp::{Args, Style};
use crate::expectation::Expectation;
use crate::lab::cast::{
    API, CART, COREDNS_0, COREDNS_1, COREDNS_GONE, DNS, DNS_V6, FRONTEND, IPVS_CLIENT, VICTIM,
    WEB_V6, WORKER,
};
use crate::lab::clients::{Lookup, Pace};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::NAME;
use crate::lab::spec::Spec;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "tcp",
    about: "DNS over TCP: single, pipelined and split writes, IPv6, glibc with use-vc",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const SERVERS: [Spec; 2] = [COREDNS_0, COREDNS_1];
const QUERIES: u16 = 6;
/// More than one run of a kernel program can look at one by one.
const PIPELINED: u16 = 20;
/// Queries whose header is cut in two: not seen where they are written, nor
/// where they are read.
const SPLIT: u16 = 2;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .bridge_service(DNS, &SERVERS, Balance::Random)
        .service(DNS, &SERVERS, Balance::Random)
        .service(DNS_V6, &SERVERS, Balance::Random)
        .tcp_service(DNS, &SERVERS)
        .load(stage.node)?;
    let ways = [
        (VICTIM, Args::new(DNS, QUERIES, Style::PerQuery)),
        (WORKER, Args::new(DNS, QUERIES, Style::OneConnection)),
        (API, Args::new(DNS, PIPELINED, Style::Pipelined)),
        (IPVS_CLIENT, Args::new(COREDNS_0.address(), QUERIES, Style::TwoCalls)),
        (WEB_V6, Args::new(COREDNS_1.address_v6(), QUERIES, Style::OneConnection)),
    ];
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let clients = ways
        .iter()
        .map(|(spec, args)| Ok((*spec, stage.programs.tcp(stage.pod(spec)?, args)?)))
        .collect::<Result<Vec<_>>>()?;
    let lookup = Lookup {
        name: NAME,
        count: 3,
        pace: Pace::Every(std::time::Duration::from_millis(50)),
        options: Some("use-vc"),
    };
    let glibc = stage.programs.resolve(stage.pod(&FRONTEND)?, Resolver::Glibc, 1, lookup)?;
    let split = Args::new(COREDNS_0.address(), SPLIT, Style::SplitHeader);
    let split = stage.programs.tcp(stage.pod(&COREDNS_GONE)?, &split)?.report()?;

    let mut expectation = Expectation::default();
    for (spec, client) in clients {
        expectation.healthy(&spec.label(), &client.report()?)?;
    }
    expectation.healthy(&FRONTEND.label(), &glibc.report()?)?;
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.unread_over_tcp(2 * split.answered);
    let asked = expectation.queries();
    let observed = watch.finish()?;
    let of_servers = observed.last.pods.iter().filter(|row| row.role == "server");
    let arrived = of_servers.map(|row| row.total.answered).sum();
    let problems = same("queries answered by the servers and asked by clients", arrived, asked);
    let split =
        same("queries with a split header that were answered", split.answered, SPLIT.into());
    Ok(Outcome::new(expectation, observed).also(problems).also(split))
}
