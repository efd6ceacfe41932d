//! A fault in the middle of heavy traffic: two pods ask as fast as the machine
//! carries, up to a thousand queries a second, while a third loses all but one
//! of its queries to a taken source port.
//!
//! Where the clock counts instructions, because an emulated processor that
//! translates a kernel program for longer than a tick makes a preemptible kernel
//! skip runs of it; dnsprobe tells of those, but not what was in them.

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::{query, steady};
use crate::expectation::Expectation;
use crate::lab::cast::{API, CART, COREDNS_0, COREDNS_1, DNS, VICTIM};
use crate::lab::conntrack::Counters;
use crate::lab::dnsprobe::Mode;
use crate::lab::firewall::{Balance, Rules};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "fault-under-load",
    about: "a pod loses its queries while two others ask up to a thousand times a second",
    kernels: Kernels::All,
    exact_clock: true,
    run,
};

const QUERIES: u16 = 12;
/// Pairs a second of each of the two.
const RATE: f64 = 250.0;
const LOST_AFTER: std::time::Duration = std::time::Duration::from_secs(5);

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let victim = VICTIM.address();
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .rule(
            "nat",
            format!(
                "-A POSTROUTING -s {victim} -p udp --dport 53 -j SNAT --to-source 192.0.2.10:40002"
            ),
        )
        .load(stage.node)?;
    let watch = stage.watch(Mode::Top, LOST_AFTER)?;
    let before = Counters::read(stage.node)?;
    let load = steady::Args {
        server: DNS.into(),
        names: crate::lab::server::NAME.into(),
        rate: RATE,
        seconds: 3,
        timeout_ms: 4000,
    };
    let busy = [CART, API]
        .iter()
        .map(|spec| stage.programs.steady(stage.pod(spec)?, &load))
        .collect::<Result<Vec<_>>>()?;
    let queries = query::Args {
        fresh_port: true,
        timeout_ms: 200,
        ..query::Args::new(COREDNS_0.address(), QUERIES)
    };
    let report = stage.programs.query(stage.pod(&VICTIM)?, &queries)?.report()?;

    let mut expectation = Expectation::default();
    for (spec, client) in [CART, API].iter().zip(busy) {
        expectation.healthy(&spec.label(), &client.report()?)?;
    }
    expectation.loses(&VICTIM.label(), &report, "conntrack-clash")?;
    let counted = Counters::read(stage.node)?.since(&before);
    Ok(Outcome::new(expectation, watch.finish()?).also(same(
        "insert_failed and the client's losses",
        counted.insert_failed,
        report.lost(),
    )))
}
