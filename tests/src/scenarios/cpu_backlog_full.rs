//! `cpu-backlog-full`: a pod's queries wait for the link-layer address of
//! their next hop; the ARP answer lets them all go at once, in one softirq,
//! and the processor's backlog takes only the first few.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, VICTIM};
use crate::lab::counters::{backlog_dropped, protocol};
use crate::lab::dnsprobe::Mode;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::spec::NEXT_HOP;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "cpu-backlog-full",
    about: "more packets at once than the processor's backlog takes",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const BURST: u16 = 60;
/// Longer than the queries wait before they are let go.
const LOST_AFTER: Duration = Duration::from_secs(4);
/// Enough for everything else that goes on, far too few for the burst.
const BACKLOG: &str = "net/core/netdev_max_backlog=10";

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    let (node, device) = (stage.node.namespace(), VICTIM.node_device(false));
    let inside = stage.pod(&VICTIM)?.namespace();
    let mac = VICTIM.mac(false, 0);
    let _neighbour = inside.run_until_dropped(
        &format!("ip neigh delete {NEXT_HOP} dev eth0"),
        format!("ip neigh replace {NEXT_HOP} lladdr {mac} dev eth0 nud permanent"),
    )?;
    let _at_once = node.sysctl_until_dropped(&format!("net/ipv4/neigh/{device}/proxy_delay=0"))?;
    let _backlog = node.sysctl_until_dropped(BACKLOG)?;
    let _patience = inside.sysctl_until_dropped("net/ipv4/neigh/eth0/mcast_solicit=12")?;
    let out = || protocol(inside, "Udp", "OutDatagrams");
    let already = out()?;
    let sent = || Ok::<_, anyhow::Error>(out()? - already);
    let watch = stage.watch(Mode::Top, LOST_AFTER)?;
    let before = backlog_dropped()?;
    let healthy = stage.healthy_pod(DNS)?;
    let burst = query::Args { burst: true, timeout_ms: 4000, ..query::Args::new(DNS, BURST) };
    let burst = stage.programs.query(stage.pod(&VICTIM)?, &burst)?;
    // ARP requests go unanswered, one a second, until all queries wait.
    let deadline = Instant::now() + Duration::from_secs(10);
    while sent()? < BURST.into() {
        ensure!(Instant::now() < deadline, "the queries were not sent");
        sleep(Duration::from_millis(20));
    }
    let _answers = node.sysctl_until_dropped(&format!("net/ipv4/conf/{device}/proxy_arp=1"))?;
    let report = burst.report()?;
    let dropped = backlog_dropped()? - before;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    expectation.loses(&VICTIM.label(), &report, "cpu-backlog-full")?;
    Ok(Outcome::new(expectation, watch.finish()?).also(same(
        "packets dropped by the backlog and losses",
        dropped,
        report.lost(),
    )))
}
