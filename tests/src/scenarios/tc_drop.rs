//! `tc-drop`: traffic control drops packets in each place where shapers and
//! eBPF datapaths sit, each against a pod of its own: a full queue in the pod
//! (where a sender that asks is told, others are not), a full queue on the node
//! in front of the pod, a filter on the pod's way in and out of the node, one in
//! the pod itself, and a program on the pod's cgroup.

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{
    API, CART, COREDNS_0, COREDNS_1, COREDNS_GONE, DNS, IPVS_CLIENT, TWO_NAMESERVERS, VICTIM,
    WEB_V6, WORKER,
};
use crate::lab::cgroup_filter::{Place, refuse};
use crate::lab::counters::{filter_dropped, qdisc_dropped};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::shell::Namespace;
use crate::lab::spec::Spec;
use crate::lab::undo::Undo;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "tc-drop",
    about: "full queueing disciplines and dropping filters, in pods and on the node",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const CAUSE: &str = "tc-drop";
/// More than fit into the queue.
const BURST: u16 = 80;
/// Room for some twenty queries in the bucket and twenty in the queue, which
/// is empty again after a quarter of a second.
const SHAPER: &str = "tbf rate 64kbit burst 2000 limit 2000";

/// A queue that is too small.
fn shape(namespace: &Namespace, device: &str) -> Result<Undo> {
    namespace.run_until_dropped(
        &format!("tc qdisc add dev {device} root {SHAPER}"),
        format!("tc qdisc delete dev {device} root"),
    )
}

/// A filter that drops everything at `side` of a device.
fn filter(namespace: &Namespace, device: &str, side: &str) -> Result<Undo> {
    let undo = namespace.run_until_dropped(
        &format!("tc qdisc add dev {device} clsact"),
        format!("tc qdisc delete dev {device} clsact"),
    )?;
    namespace
        .run(&format!("tc filter add dev {device} {side} protocol ip matchall action drop"))?;
    Ok(undo)
}

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    let node = stage.node.namespace();
    let inside = |spec: &Spec| stage.pod(spec).map(|pod| pod.namespace());
    let device = |spec: &Spec| spec.node_device(false);

    let (shaped, told, shaped_answers) = (VICTIM, WEB_V6, TWO_NAMESERVERS);
    let (ingress, egress, own_egress, cgroup) = (WORKER, API, IPVS_CLIENT, COREDNS_GONE);
    let _refusal = refuse(stage.pod(&cgroup)?.cgroup(), Place::Egress)?;
    let _changes = [
        shape(inside(&shaped)?, "eth0")?,
        shape(inside(&told)?, "eth0")?,
        shape(node, &device(&shaped_answers))?,
        filter(node, &device(&ingress), "ingress")?,
        filter(node, &device(&egress), "egress")?,
        filter(inside(&own_egress)?, "eth0", "egress")?,
    ];
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let burst = query::Args { burst: true, ..query::Args::new(DNS, BURST) };
    let asks = query::Args { receive_errors: true, ..burst.clone() };
    let few = query::Args { timeout_ms: 150, ..query::Args::new(DNS, 4) };
    let clients = [
        (shaped, &burst),
        (told, &asks),
        (shaped_answers, &burst),
        (ingress, &few),
        (egress, &few),
        (own_egress, &few),
        (cgroup, &few),
    ]
    .map(|(spec, args)| Ok((spec, stage.programs.query(stage.pod(&spec)?, args)?)))
    .into_iter()
    .collect::<Result<Vec<_>>>()?;

    let mut expectation = Expectation::default();
    let mut problems = Vec::new();
    for (spec, client) in clients {
        let report = client.report()?;
        expectation.loses(&spec.label(), &report, CAUSE)?;
        let counted = match spec.number {
            n if n == shaped_answers.number => qdisc_dropped(node, &device(&spec))?,
            n if n == ingress.number => filter_dropped(node, &device(&spec), "ingress")?,
            n if n == egress.number => filter_dropped(node, &device(&spec), "egress")?,
            n if n == own_egress.number => filter_dropped(inside(&spec)?, "eth0", "egress")?,
            n if n == cgroup.number => report.send_errors_of("EPERM"),
            _ => qdisc_dropped(inside(&spec)?, "eth0")?,
        };
        let label = spec.label();
        problems.extend(same(&format!("{label}: drops and losses"), counted, report.lost()));
        let is_told = [told.number, cgroup.number].contains(&spec.number);
        let refused = if is_told { report.lost() } else { 0 };
        problems.extend(same(
            &format!("{label}: send errors and drops that were told"),
            report.send_errors,
            refused,
        ));
    }
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    Ok(Outcome::new(expectation, watch.finish()?).also(problems))
}
