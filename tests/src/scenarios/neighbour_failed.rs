//! `neighbour-failed`: nobody answers ARP for the next hop. On the bridge the
//! address of the backend itself; behind a point-to-point link the backend
//! again, the DNS server pod being gone without its route; and in the pod, the
//! address of its gateway.

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::bridge;
use crate::lab::cast::{
    CART, COREDNS_0, COREDNS_1, COREDNS_GONE, DNS, FRONTEND, SECOND_DNS, VICTIM, WORKER,
};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::spec::{BRIDGE, NEXT_HOP, Spec};
use crate::lab::undo::Undo;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "neighbour-failed",
    about: "the next hop does not answer ARP: on the bridge, on a pod's link, in the pod",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

/// Three requests, 200 ms apart, and the neighbour has failed.
const GIVE_UP: [&str; 2] = ["mcast_solicit=3", "retrans_time_ms=200"];

fn give_up_soon(namespace: &crate::lab::shell::Namespace, device: &str) -> Result<Vec<Undo>> {
    GIVE_UP
        .iter()
        .map(|setting| {
            namespace.sysctl_until_dropped(&format!("net/ipv4/neigh/{device}/{setting}"))
        })
        .collect()
}

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .bridge_service(SECOND_DNS, &[COREDNS_1], Balance::Random)
        .service(DNS, &[COREDNS_0], Balance::Random)
        .service(SECOND_DNS, &[COREDNS_GONE], Balance::Random)
        .load(stage.node)?;
    let node = stage.node.namespace();
    let inside = stage.pod(&WORKER)?.namespace();
    let gone = COREDNS_GONE.node_device(false);
    let _soon =
        [give_up_soon(node, BRIDGE)?, give_up_soon(node, &gone)?, give_up_soon(inside, "eth0")?];
    let _silent = stage
        .pod(&COREDNS_GONE)?
        .namespace()
        .sysctl_until_dropped("net/ipv4/conf/eth0/arp_ignore=8")?;
    let neighbour = |address: std::net::Ipv4Addr, device: &str, spec: &Spec, side| {
        (
            format!("ip neigh delete {address} dev {device}"),
            format!(
                "ip neigh replace {address} lladdr {} dev {device} nud permanent",
                spec.mac(false, side)
            ),
        )
    };
    let (forget, learn) = neighbour(COREDNS_GONE.address(), &gone, &COREDNS_GONE, 1);
    let _backend = node.run_until_dropped(&forget, learn)?;
    let (forget, learn) = neighbour(NEXT_HOP, "eth0", &WORKER, 0);
    let _gateway = inside.run_until_dropped(&forget, learn)?;
    let watch = stage.top()?;
    bridge::forget_neighbours(stage.node, &[COREDNS_1])?;
    let healthy = stage.healthy_pod(DNS)?;
    let ask = query::Args { timeout_ms: 400, ..query::Args::new(SECOND_DNS, 4) };
    let victims = [FRONTEND, VICTIM, WORKER];
    let clients = victims
        .iter()
        .map(|spec| stage.programs.query(stage.pod(spec)?, &ask))
        .collect::<Result<Vec<_>>>()?;

    let mut expectation = Expectation::default();
    for (spec, client) in victims.iter().zip(clients) {
        expectation.loses(&spec.label(), &client.report()?, "neighbour-failed")?;
    }
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    let observed = watch.finish();
    bridge::learn_neighbours(stage.node, &[COREDNS_1])?;
    Ok(Outcome::new(expectation, observed?))
}
