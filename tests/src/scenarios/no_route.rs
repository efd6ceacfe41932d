//! `no-route`, in the pod and on the node. In the pod the send call itself
//! fails and no packet is ever made: no route at all, or one that says
//! "unreachable". On the node the packet is forwarded to where no route leads,
//! or such a route.

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{
    API, CART, COREDNS_0, COREDNS_1, DNS, REMOTE_RESOLVER, TWO_NAMESERVERS, VICTIM, WORKER,
};
use crate::lab::counters::protocol;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::node::{UPLINK, UPLINK_GATEWAY};
use crate::lab::spec::NEXT_HOP;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "no-route",
    about: "no route to the resolver, in the pod (send fails) and on the node",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const CAUSE: &str = "no-route";
/// To this one the node has a route that says it cannot be reached.
const UNREACHABLE: std::net::Ipv4Addr = std::net::Ipv4Addr::new(203, 0, 113, 53);

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    let node = stage.node.namespace();
    let (no_default, forbidden) = (stage.pod(&VICTIM)?, stage.pod(&WORKER)?);
    let _changes = [
        no_default.namespace().run_until_dropped(
            "ip route delete default",
            format!("ip route add default via {NEXT_HOP} dev eth0"),
        )?,
        forbidden.namespace().run_until_dropped(
            &format!("ip route add unreachable {DNS}"),
            format!("ip route delete unreachable {DNS}"),
        )?,
        node.run_until_dropped(
            "ip route delete default",
            format!("ip route add default via {UPLINK_GATEWAY} dev {UPLINK}"),
        )?,
        node.run_until_dropped(
            &format!("ip route add unreachable {UNREACHABLE}"),
            format!("ip route delete unreachable {UNREACHABLE}"),
        )?,
    ];
    let watch = stage.top()?;
    let no_routes = |pod: &crate::lab::Pod| protocol(pod.namespace(), "Ip", "OutNoRoutes");
    let before = (no_routes(no_default)?, protocol(node, "IpExt", "InNoRoutes")?);
    let healthy = stage.healthy_pod(DNS)?;
    let ask = |server| query::Args { timeout_ms: 150, ..query::Args::new(server, 4) };
    let clients =
        [(VICTIM, DNS), (WORKER, DNS), (API, REMOTE_RESOLVER), (TWO_NAMESERVERS, UNREACHABLE)]
            .map(|(spec, server)| {
                Ok((spec, stage.programs.query(stage.pod(&spec)?, &ask(server))?))
            })
            .into_iter()
            .collect::<Result<Vec<_>>>()?;

    let mut expectation = Expectation::default();
    let mut refused = [0, 0];
    for (spec, client) in clients {
        let report = client.report()?;
        refused[0] += report.send_errors_of("ENETUNREACH");
        refused[1] += report.send_errors_of("EHOSTUNREACH");
        expectation.loses(&spec.label(), &report, CAUSE)?;
    }
    let in_no_routes = protocol(node, "IpExt", "InNoRoutes")? - before.1;
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    Ok(Outcome::new(expectation, watch.finish()?)
        .also(same("ENETUNREACH in the pod without a default route", refused[0], 4))
        .also(same("EHOSTUNREACH in the pod with an unreachable route", refused[1], 4))
        .also(same("packets the node had no route for", in_no_routes, 4)))
}
