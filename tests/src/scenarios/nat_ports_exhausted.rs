//! `nat-ports-exhausted`: source NAT cannot be set up. The queries leave through
//! a device without any address to masquerade with (an uplink that lost its
//! lease, in a routing domain of its own), and the kernel says that the device
//! "ate my IP address".

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::Node;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, REMOTE_RESOLVER, VICTIM};
use crate::lab::firewall::{Balance, Rules};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "nat-ports-exhausted",
    about: "masquerading through a device without an address: source NAT cannot be set up",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const DEVICE: &str = "bare0";
const DOMAIN: &str = "bare-vrf";
const QUERIES: u16 = 5;

/// An uplink without an address. Addresses of other devices do not stand in for
/// its own, because it is in a routing domain of its own (`inet_select_addr`).
struct BareUplink<'a>(&'a Node);

impl<'a> BareUplink<'a> {
    fn add(node: &'a Node) -> Result<Self> {
        let uplink = Self(node);
        node.namespace().ip(&format!(
            "link add {DOMAIN} type vrf table 77\n\
             link set {DOMAIN} up\n\
             link add {DEVICE} type dummy\n\
             link set {DEVICE} master {DOMAIN} up\n\
             route add {REMOTE_RESOLVER}/32 dev {DEVICE}\n\
             neigh replace {REMOTE_RESOLVER} lladdr 02:d5:ff:00:00:02 dev {DEVICE} nud permanent\n"
        ))?;
        Ok(uplink)
    }
}

impl Drop for BareUplink<'_> {
    fn drop(&mut self) {
        for device in [DEVICE, DOMAIN] {
            let _ = self.0.namespace().run(&format!("ip link delete {device}"));
        }
    }
}

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .rule("nat", format!("-A POSTROUTING -o {DEVICE} -j MASQUERADE"))
        .load(stage.node)?;
    let _uplink = BareUplink::add(stage.node)?;
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let queries = query::Args { timeout_ms: 150, ..query::Args::new(REMOTE_RESOLVER, QUERIES) };
    let report = stage.programs.query(stage.pod(&VICTIM)?, &queries)?.report()?;
    let log = stage.node.namespace().run("dmesg")?;
    let eaten = log.lines().filter(|line| line.contains("ate my IP address")).count();

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.loses(&VICTIM.label(), &report, "nat-ports-exhausted")?;
    Ok(Outcome::new(expectation, watch.finish()?)
        .also(same("the kernel's complaints and the client's losses", eaten as u64, report.lost()))
        .also(same("every query is lost", report.lost(), QUERIES.into())))
}
