//! `policy-drop`: a netfilter rule in each place where network policies and
//! host firewalls put theirs, each against a pod of its own: FORWARD, raw
//! PREROUTING and nftables on the node, OUTPUT in the pod (where the sender is
//! told), INPUT in the pod (where the answer is dropped).

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::Pod;
use crate::lab::cast::{
    API, CART, COREDNS_0, COREDNS_1, DNS, IPVS_CLIENT, TWO_NAMESERVERS, VICTIM, WORKER,
};
use crate::lab::firewall::{Balance, Rules};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "policy-drop",
    about: "netfilter rules drop queries and answers: FORWARD, raw, nftables, the pod's own",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

/// A rule inside a pod, for as long as it lives.
struct PodRule<'a> {
    pod: &'a Pod,
    rule: &'static str,
}

impl<'a> PodRule<'a> {
    fn add(pod: &'a Pod, rule: &'static str) -> Result<Self> {
        pod.namespace().run(&format!("iptables-legacy -A {rule}"))?;
        Ok(Self { pod, rule })
    }
}

impl Drop for PodRule<'_> {
    fn drop(&mut self) {
        let _ = self.pod.namespace().run(&format!("iptables-legacy -D {}", self.rule));
    }
}

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let (forward, raw, nft) = (VICTIM, WORKER, API);
    let (output, input) = (TWO_NAMESERVERS, IPVS_CLIENT);
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .rule("filter", format!("-A FORWARD -s {} -p udp --dport 53 -j DROP", forward.address()))
        .rule("raw", format!("-A PREROUTING -s {} -p udp --dport 53 -j DROP", raw.address()))
        .load(stage.node)?;
    stage.node.namespace().run_with_input(
        "nft -f -",
        &format!(
            "table ip network-policy {{\n chain forward {{\n \
             type filter hook forward priority 0\n ip saddr {} udp dport 53 drop\n }}\n}}\n",
            nft.address()
        ),
    )?;
    let _output = PodRule::add(stage.pod(&output)?, "OUTPUT -p udp --dport 53 -j DROP")?;
    let _input = PodRule::add(stage.pod(&input)?, "INPUT -p udp --sport 53 -j DROP")?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let queries = query::Args { timeout_ms: 150, ..query::Args::new(DNS, 4) };
    let victims = [forward, raw, nft, output, input];
    let clients = victims
        .iter()
        .map(|spec| stage.programs.query(stage.pod(spec)?, &queries))
        .collect::<Result<Vec<_>>>()?;

    let mut expectation = Expectation::default();
    let mut refused = 0;
    for (spec, client) in victims.iter().zip(clients) {
        let report = client.report()?;
        refused += report.send_errors;
        expectation.loses(&spec.label(), &report, "policy-drop")?;
    }
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    Ok(Outcome::new(expectation, watch.finish()?).also(same(
        "send errors of the pod with an OUTPUT rule",
        refused,
        4,
    )))
}
