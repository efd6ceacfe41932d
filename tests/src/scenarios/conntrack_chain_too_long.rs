//! `conntrack-chain-too-long`: a small hash table with room for many entries.
//! One pod opens thousands of flows; the chains grow until confirm refuses
//! further ones. The limit is drawn anew for each packet, so that some queries
//! get through. The healthy pod's packets are not tracked.

use anyhow::{Result, ensure};

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::{query, spray};
use crate::expectation::Expectation;
use crate::lab::cast::{API, CART, COREDNS_0, COREDNS_1, DNS, REMOTE_RESOLVER, VICTIM};
use crate::lab::conntrack::Counters;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::hash::HashSize;
use crate::lab::kernel::Kernel;
use crate::lab::setting::Setting;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "conntrack-chain-too-long",
    about: "a small conntrack hash table: chains reach the limit, new flows are refused",
    kernels: Kernels::Since(
        Kernel(6, 1),
        "__nf_conntrack_confirm knows no longest chain before 5.15",
    ),
    exact_clock: false,
    run,
};

/// The smallest table.
const BUCKETS: u32 = 512;
/// Each entry stands in two chains. Chains longer than 50 to 80 refuse more.
const FLOWS: u32 = 22_000;
const QUERIES: u16 = 30;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let cart = CART.address();
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .rule("raw", format!("-A PREROUTING -s {cart} -j CT --notrack"))
        .rule("raw", format!("-A PREROUTING -d {cart} -j CT --notrack"))
        .load(stage.node)?;
    let _max = Setting::set(stage.node, "net/netfilter/nf_conntrack_max", "1000000")?;
    let _timeout = Setting::set(stage.node, "net/netfilter/nf_conntrack_udp_timeout", "120")?;
    let _hash = HashSize::set(BUCKETS)?;
    let flood = spray::Args { server: REMOTE_RESOLVER.into(), flows: FLOWS };
    stage.programs.spray(stage.pod(&API)?, &flood)?.report()?;
    let watch = stage.top()?;
    let before = Counters::read(stage.node)?;
    let healthy = stage.healthy_pod(COREDNS_0.address())?;
    let queries =
        query::Args { fresh_port: true, timeout_ms: 100, ..query::Args::new(DNS, QUERIES) };
    let report = stage.programs.query(stage.pod(&VICTIM)?, &queries)?.report()?;
    let counted = Counters::read(stage.node)?.since(&before);
    let healthy = healthy.report()?;
    stage.node.namespace().run("conntrack -F")?;
    ensure!(report.answered > 0, "not one query found a short chain");

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy)?;
    expectation.loses(&VICTIM.label(), &report, "conntrack-chain-too-long")?;
    Ok(Outcome::new(expectation, watch.finish()?)
        .also(same("chaintoolong and the client's losses", counted.chaintoolong, report.lost()))
        .also(same("insert_failed and chaintoolong", counted.insert_failed, counted.chaintoolong))
        .also(same("no clash: drop", counted.drop, 0)))
}
