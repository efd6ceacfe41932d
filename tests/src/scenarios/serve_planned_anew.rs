//! `dnsprobe serve` on a node without IPVS, until IPVS comes: the hooks are planned
//! anew, what is lost there has its cause, and nothing counts twice.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::serve::{equal, series, start};
use super::stage::{LOST_AFTER, Stage};
use super::{Kernels, Outcome, Scenario};
use crate::client::query::Args;
use crate::lab::cast::{CART, COREDNS_0, DNS, IPVS_CLIENT, IPVS_DNS};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::ipvs;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "serve-planned-anew",
    about: "serve: ip_vs is loaded while it runs; its losses are told, nothing counts twice",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PORT: u16 = 19_353;
const CAUSE: &str = "ipvs-no-backend";

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0], Balance::Random).load(stage.node)?;
    let node = stage.node.namespace();
    node.run("ipvsadm -C")?;
    node.run("modprobe -r ip_vs_rr ip_vs")?;
    let mut server = start(stage, PORT, &["--attach-again"])?;
    let hook = |state: &str, text: &str| {
        let wanted = format!("hook=\"ipvs-verdict\",state=\"{state}\"");
        (!text.contains(&wanted)).then(|| format!("the hook is not {state}"))
    };
    let mut problems = Vec::new();
    problems.extend(hook("not-needed", &server.text("/metrics")?));
    let asked_before = stage.healthy_pod(DNS)?.report()?;

    node.run("modprobe -a ip_vs ip_vs_rr")?;
    // A pod that asks all the while: what is asked when one plan takes over from the
    // other is counted, and once.
    let meanwhile = Args { interval_ms: 10, ..Args::new(DNS, 300) };
    let meanwhile = stage.programs.query(stage.pod(&CART)?, &meanwhile)?;
    server.wait_for("ip_vs came into the kernel; planning the hooks anew")?;
    server.wait_for_metric("dnsprobe_plans_total{result=\"attached\"}", 2.0)?;
    problems.extend(hook("attached", &server.text("/metrics")?));
    let meanwhile = meanwhile.report()?;
    ipvs::service(stage.node, IPVS_DNS, &[])?;
    let args = Args { timeout_ms: 150, ..Args::new(IPVS_DNS, 5) };
    let lost = stage.programs.query(stage.pod(&IPVS_CLIENT)?, &args)?.report()?;
    let asked_after = stage.healthy_pod(DNS)?.report()?;
    sleep(LOST_AFTER + Duration::from_millis(2500));

    let of =
        |metric: &str, more: &str| server.metric(&series(metric, CART.namespace, CART.name, more));
    let asked = asked_before.sent + meanwhile.sent + asked_after.sent;
    let queries = of("dnsprobe_queries_total", "")?;
    // One may be sent in the microseconds between the two plans.
    if queries > asked as f64 || queries < asked as f64 - 1.0 {
        problems.push(format!("{queries} queries were counted, and {asked} were asked"));
    }
    let answered = of("dnsprobe_answers_total", ",rcode=\"NOERROR\"")?;
    let cut = of("dnsprobe_not_followed_queries_total", "")?;
    if answered + cut > queries || cut > 1.0 {
        problems.push(format!("{answered} answered and {cut} not followed of {queries}"));
    }
    let lost_for = format!(",cause=\"{CAUSE}\"");
    let losses =
        series("dnsprobe_lost_queries_total", IPVS_CLIENT.namespace, IPVS_CLIENT.name, &lost_for);
    problems.extend(equal(&losses, server.metric(&losses)?, lost.lost()));
    if lost.lost() == 0 {
        problems.push("the fault did not happen".to_owned());
    }
    problems.extend(equal("complete", server.metric("dnsprobe_complete")?, 1));
    server.finish()?;
    Ok(Outcome::default().checked("hooks and counts before and after ip_vs came", problems))
}
