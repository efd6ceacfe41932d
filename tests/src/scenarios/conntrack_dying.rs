//! `conntrack-dying`: a query waits for its backend's link-layer address on a
//! bridge, its entry unconfirmed, while a conntrack helper is unregistered.
//! That condemns every unconfirmed entry: 5.10 marks them as dying, later
//! kernels let their extensions expire. Confirm then drops the query. The entry
//! needs an extension for that; accounting gives it one.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::bridge;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, FRONTEND};
use crate::lab::conntrack::Counters;
use crate::lab::dnsprobe::Mode;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::setting::Setting;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "conntrack-dying",
    about: "a conntrack helper is unloaded while queries wait with unconfirmed entries",
    kernels: Kernels::With(
        &["__nf_ct_unconfirmed_destroy", "nf_ct_ext_bump_genid"],
        "nf_ct_iterate_destroy leaves unconfirmed entries alone: nothing can condemn them",
    ),
    exact_clock: false,
    run,
};

/// Every query has a flow of its own, so an entry of its own.
const FLOWS: u16 = 3;
const HELPER: &str = "nf_conntrack_ftp";
const LOST_AFTER: Duration = Duration::from_secs(4);

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let frontend = stage.pod(&FRONTEND)?;
    Rules::default()
        .bridge_service(DNS, &[COREDNS_0], Balance::Random)
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .load(stage.node)?;
    let _accounting = Setting::set(stage.node, "net/netfilter/nf_conntrack_acct", "1")?;
    stage.node.namespace().run(&format!("modprobe {HELPER}"))?;
    let watch = stage.watch(Mode::Top, LOST_AFTER)?;
    let before = Counters::read(stage.node)?;
    let healthy = stage.healthy_pod(DNS)?;

    bridge::forget_neighbours(stage.node, &[COREDNS_0])?;
    let queries = query::Args { timeout_ms: 2500, ..query::Args::new(DNS, 1) };
    let clients =
        (0..FLOWS).map(|_| stage.programs.query(frontend, &queries)).collect::<Result<Vec<_>>>()?;
    bridge::wait_for_translated(stage.node, FLOWS.into())?;
    // The packets reach the neighbour's queue right after the rule.
    sleep(Duration::from_millis(20));
    stage.node.namespace().run(&format!("modprobe -r {HELPER}"))?;
    bridge::learn_neighbours(stage.node, &[COREDNS_0])?;

    let mut expectation = Expectation::default();
    let mut lost = 0;
    for client in clients {
        let report = client.report()?;
        lost += report.lost();
        expectation.loses(&FRONTEND.label(), &report, "conntrack-dying")?;
    }
    let counted = Counters::read(stage.node)?.since(&before);
    let again = stage.programs.query(frontend, &queries)?.report()?;
    expectation.healthy(&FRONTEND.label(), &again)?;
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    Ok(Outcome::new(expectation, watch.finish()?)
        // A purge may catch somebody else's new flow as well.
        .also((counted.insert_failed < lost).then(|| {
            format!("insert_failed rose by {}, the client lost {lost}", counted.insert_failed)
        }))
        .also(same("no clash: drop", counted.drop, 0)))
}
