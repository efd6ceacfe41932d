//! `pod-config`: one pod has a `resolv.conf` with everything wrong that can be
//! proven from outside, beside pods whose file is the kubelet's.

use std::process::Command;

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::lab::cast::{API, CART, COREDNS_0, COREDNS_1, DNS, SECOND_DNS, VICTIM};
use crate::lab::check::Checked;
use crate::lab::firewall::{Balance, Rules};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "check-pod-config",
    about: "a pod's resolv.conf is wrong in nine ways; `check` names each, for that pod only",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

/// What the check says of the victim.
const PROBLEMS: [&str; 9] = [
    "nameserver-without-route",
    "nameserver-not-listening",
    "too-many-nameservers",
    "option-ignored",
    "option-capped",
    "line-ignored",
    "search-expansion",
    "single-attempt",
    "differs-from-others",
];
/// Behind a route of type unreachable.
const UNREACHABLE: &str = "203.0.113.53";

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    let sleep = || {
        let mut command = Command::new("sleep");
        command.arg("600");
        command
    };
    let (_cart, _api) = (stage.pod(&CART)?.spawn(sleep())?, stage.pod(&API)?.spawn(sleep())?);
    let before = Checked::run(stage.node, stage.programs, &[])?;

    let victim = stage.pod(&VICTIM)?;
    victim.namespace().ip(&format!("route replace unreachable {UNREACHABLE}/32\n"))?;
    let conf = format!(
        "nameserver {UNREACHABLE}\nnameserver 127.0.0.1\nnameserver {DNS}\nnameserver {SECOND_DNS}\n\
         search shop.svc.cluster.local svc.cluster.local cluster.local\n\
         options ndots:5 attempts:1 timeout:99 no-such-option\nNameserver {DNS}\n"
    );
    let asleep = victim.spawn_with_resolv_conf(sleep(), &conf)?;
    let after = Checked::run(stage.node, stage.programs, &[])?;
    let other = Checked::run(stage.node, stage.programs, &["--pod", CART.name])?;
    drop(asleep);
    victim.namespace().ip(&format!("route del unreachable {UNREACHABLE}/32\n"))?;

    let of_victim = PROBLEMS.map(|problem| format!("{problem} of {}", VICTIM.label()));
    let (found, kept) = after.new_since(&before);
    let about_victim = |finding: &&String| finding.ends_with(&VICTIM.label());
    let mut problems = Vec::new();
    if after.exit_code != Some(1) {
        problems.push(format!("exit code {:?} with problems", after.exit_code));
    }
    if !kept {
        problems.push(format!("{:?} lost some of {:?}", after.findings, before.findings));
    }
    for finding in before.findings.iter().chain(&other.findings).filter(about_victim) {
        problems.push(format!("{finding}, though the victim did not run or was not asked for"));
    }
    problems.extend(after.unread.iter().map(|unread| format!("not read: {unread}")));
    Ok(Outcome::default().findings(&of_victim, &found).also(problems))
}
