//! `server-silent`: DNS servers on this node that took the query and never
//! answered. One reads it and keeps silent, one is stopped and does not even
//! read, and one forwards it to a resolver outside the node from which nothing
//! comes back: then the forwarded query is lost too, for its own cause and by
//! the server's own pod.

use anyhow::Result;
use nix::sys::signal::Signal;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::{Report, query};
use crate::expectation::Expectation;
use crate::lab::cast::{
    API, CART, COREDNS_0, COREDNS_1, COREDNS_DEAF, COREDNS_GONE, DNS, REMOTE_RESOLVER, SECOND_DNS,
    TWO_NAMESERVERS, VICTIM, WORKER,
};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::node::UPLINK;
use crate::lab::server;
use crate::lab::spec::Spec;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "server-silent",
    about: "servers that keep silent, are stopped, or wait for a dead upstream",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const CAUSE: &str = "server-silent";
const QUERIES: u16 = 4;
/// The pod that plays the forwarder.
const FORWARDER: Spec = TWO_NAMESERVERS;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_DEAF], Balance::Random)
        .rule("nat", format!("-A POSTROUTING -o {UPLINK} -j MASQUERADE"))
        .load(stage.node)?;
    let start = |spec, options: server::Options| server::start(stage.pod(spec)?, &options);
    let _deaf = start(&COREDNS_DEAF, server::Options { local_only: true, ..Default::default() })?;
    let stopped = start(&COREDNS_GONE, server::Options::default())?;
    let upstream = Some(REMOTE_RESOLVER);
    let mut forwarder = start(&FORWARDER, server::Options { upstream, ..Default::default() })?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    stopped.signal(Signal::SIGSTOP)?;
    let ask = |server: std::net::Ipv4Addr| query::Args {
        timeout_ms: 150,
        ..query::Args::new(server, QUERIES)
    };
    let external = query::Args {
        name: "www.example.com.".into(),
        distinct_names: true,
        ..ask(FORWARDER.address())
    };
    let clients =
        [(VICTIM, ask(SECOND_DNS)), (WORKER, ask(COREDNS_GONE.address())), (API, external)]
            .map(|(spec, args)| Ok((spec, stage.programs.query(stage.pod(&spec)?, &args)?)))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;

    let mut expectation = Expectation::default();
    for (spec, client) in clients {
        expectation.loses(&spec.label(), &client.report()?, CAUSE)?;
    }
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    let observed = watch.finish()?;
    let forwarded = forwarder.count_errors("forwarded n") as u64;
    let report = Report { sent: forwarded, ..Report::default() };
    expectation.loses(&FORWARDER.label(), &report, "remote-silence")?;
    Ok(Outcome::new(expectation, observed).also(same(
        "queries the forwarder forwarded",
        forwarded,
        QUERIES.into(),
    )))
}
