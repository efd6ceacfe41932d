//! `answer-mismatch`: the conntrack entry is deleted while the server takes
//! its time. The answer is not translated back and reaches the pod with the
//! server's own address. A socket that is not connected gets it and has to
//! throw it away; for a connected one there is no such socket.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, SECOND_DNS, VICTIM, WORKER};
use crate::lab::conntrack;
use crate::lab::counters::protocol;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server;
use crate::lab::spec::Spec;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "answer-mismatch",
    about: "the conntrack entry is deleted between query and answer",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const DELAY: Duration = Duration::from_millis(800);
const QUERIES: u16 = 5;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_1], Balance::Random)
        .load(stage.node)?;
    server::set_delay(stage.pod(&COREDNS_1)?, server::TO_PODS, DELAY)?;
    let no_ports = || protocol(stage.pod(&WORKER)?.namespace(), "Udp", "NoPorts");
    let watch = stage.top()?;
    let before = no_ports()?;
    let healthy = stage.healthy_pod(DNS)?;
    let unconnected =
        query::Args { burst: true, timeout_ms: 1500, ..query::Args::new(SECOND_DNS, QUERIES) };
    let connected = query::Args { connected: true, ..unconnected.clone() };
    let forgotten = |spec: Spec, query: &query::Args| {
        let client = stage.programs.query(stage.pod(&spec)?, query)?;
        conntrack::wait_for_entry(stage.node, spec.address().into())?;
        sleep(DELAY / 2);
        let delete = format!("conntrack -D -p udp --orig-src {}", spec.address());
        stage.node.namespace().run(&delete)?;
        client.report()
    };
    let gets = forgotten(VICTIM, &unconnected)?;
    let refuses = forgotten(WORKER, &connected)?;
    let refused = no_ports()? - before;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.loses(&VICTIM.label(), &gets, "answer-mismatch")?;
    expectation.loses(&WORKER.label(), &refuses, "answer-mismatch")?;
    Ok(Outcome::new(expectation, watch.finish()?)
        .also(same("answers from the wrong address", gets.alien, QUERIES.into()))
        .also(same("answers no socket was there for", refused, QUERIES.into())))
}
