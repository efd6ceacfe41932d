//! `packet-invalid`: packets the kernel finds fault with, each kind against a
//! pod of its own. The source address does not lead back to where the packet
//! came from (strict reverse-path filter); a query, and for another pod the
//! answer, has a wrong UDP checksum, which the kernel finds at once in a short
//! packet and only when the process reads it in a long one; a fragment of a large
//! answer is missing.

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::message::QueryType;
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{
    API, CART, COREDNS_0, COREDNS_1, DNS, IPVS_CLIENT, TWO_NAMESERVERS, VICTIM, WEB_V6, WORKER,
};
use crate::lab::counters::protocol;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::BIG_NAME;
use crate::lab::shell::Namespace;
use crate::lab::spec::NEXT_HOP;
use crate::lab::undo::Undo;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "packet-invalid",
    about: "reverse-path filter, wrong UDP checksums both ways, a lost fragment",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const CAUSE: &str = "packet-invalid";
/// An address the node has no route back to the pod for.
const FOREIGN: &str = "10.244.9.17";
/// Packets with this name are longer than the 76 bytes up to which the kernel
/// looks at the checksum at once (CHECKSUM_BREAK, include/linux/skbuff.h).
const LONG_NAME: &str = "a-name-that-is-long-enough-to-be-looked-at-late.shop.svc.cluster.local.";
/// The checksum is completed first, for no receiver looks at one that is not;
/// then the DNS header's count of authority records is changed.
const CORRUPT: &str = "action csum ip udp pipe action pedit munge offset 36 u8 invert";

/// What `filter` picks is treated with `action` on its way into the node.
fn on_ingress(node: &Namespace, device: &str, filter: &str, action: &str) -> Result<Undo> {
    let undo = node.run_until_dropped(
        &format!("tc qdisc add dev {device} clsact"),
        format!("tc qdisc delete dev {device} clsact"),
    )?;
    node.run(&format!("tc filter add dev {device} ingress protocol ip {filter} {action}"))?;
    Ok(undo)
}

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0], Balance::Random).load(stage.node)?;
    let node = stage.node.namespace();
    let inside = stage.pod(&VICTIM)?.namespace();
    let (server, server_device) =
        (stage.pod(&COREDNS_1)?.namespace(), COREDNS_1.node_device(false));
    let to = |spec: &crate::lab::spec::Spec| format!("flower dst_ip {}", spec.address());
    let _changes = [
        inside.run_until_dropped(
            &format!("ip address add {FOREIGN}/32 dev eth0"),
            format!("ip address delete {FOREIGN}/32 dev eth0"),
        )?,
        inside.run_until_dropped(
            &format!("ip route replace default via {NEXT_HOP} dev eth0 src {FOREIGN}"),
            format!("ip route replace default via {NEXT_HOP} dev eth0"),
        )?,
        node.sysctl_until_dropped(&format!(
            "net/ipv4/conf/{}/rp_filter=1",
            VICTIM.node_device(false)
        ))?,
        on_ingress(node, &WORKER.node_device(false), "matchall", CORRUPT)?,
        on_ingress(node, &WEB_V6.node_device(false), "matchall", CORRUPT)?,
        on_ingress(node, &server_device, &to(&API), CORRUPT)?,
        node.sysctl_until_dropped("net/ipv4/ipfrag_time=1")?,
    ];
    node.run(&format!(
        "tc filter add dev {server_device} ingress protocol ip prio 8 {} {CORRUPT}",
        to(&IPVS_CLIENT)
    ))?;
    node.run(&format!(
        "tc filter add dev {server_device} ingress protocol ip prio 9 flower dst_ip {} \
         ip_flags nofirstfrag action drop",
        TWO_NAMESERVERS.address()
    ))?;
    let counters = || -> Result<[u64; 5]> {
        Ok([
            protocol(node, "TcpExt", "IPReversePathFilter")?,
            protocol(server, "Udp", "InCsumErrors")?,
            protocol(stage.pod(&API)?.namespace(), "Udp", "InCsumErrors")?,
            protocol(stage.pod(&IPVS_CLIENT)?.namespace(), "Udp", "InCsumErrors")?,
            protocol(node, "Ip", "ReasmTimeout")?,
        ])
    };
    let watch = stage.top()?;
    let before = counters()?;
    let healthy = stage.healthy_pod(DNS)?;
    // To the server itself: conntrack would not translate a packet whose
    // checksum is wrong.
    let few = query::Args { timeout_ms: 200, ..query::Args::new(COREDNS_1.address(), 4) };
    let big = query::Args {
        name: BIG_NAME.into(),
        kind: QueryType::Txt,
        edns: Some(4096),
        ..few.clone()
    };
    let long = query::Args { name: LONG_NAME.into(), ..few.clone() };
    let clients = [
        (VICTIM, &few),
        (WORKER, &few),
        (WEB_V6, &long),
        (API, &long),
        (IPVS_CLIENT, &few),
        (TWO_NAMESERVERS, &big),
    ]
    .map(|(spec, args)| Ok((spec, stage.programs.query(stage.pod(&spec)?, args)?)))
    .into_iter()
    .collect::<Result<Vec<_>>>()?;

    let mut expectation = Expectation::default();
    for (spec, client) in clients {
        expectation.loses(&spec.label(), &client.report()?, CAUSE)?;
    }
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    let observed = watch.finish()?;
    let after = counters()?;
    let counted = [
        ("reverse-path filter", 4),
        ("checksums at the server", 8),
        ("checksums at the client that gets long answers", 4),
        ("checksums at the client that gets short answers", 4),
        ("reassembly", 4),
    ];
    let problems = counted
        .into_iter()
        .zip(after.into_iter().zip(before))
        .filter_map(|((name, count), (after, before))| same(name, after - before, count))
        .collect::<Vec<_>>();
    Ok(Outcome::new(expectation, observed).also(problems))
}
