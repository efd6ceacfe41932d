//! `node-config`: settings that lose DNS queries, a conntrack table that one
//! pod has nearly filled, and a DNS service in IPVS whose backend rests.

use std::process::Command;

use anyhow::{Result, ensure};

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::lab::cast::{COREDNS_0, COREDNS_1, DNS, IPVS_DNS, VICTIM};
use crate::lab::check::Checked;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::ipvs;
use crate::lab::setting::Setting;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "check-node-config",
    about: "bad sysctls, a nearly full conntrack table, IPVS that keeps gone backends",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

/// What the check says of the node, beside what it said before. The timeout of
/// UDP in IPVS is the kernel's default of 300 seconds.
const PROBLEMS: [&str; 7] = [
    "conntrack-nearly-full",
    "udp-timeout-short",
    "receive-buffer-small",
    "backlog-small",
    "ipvs-keeps-gone-backends",
    "ipvs-udp-timeout-long",
    "ipvs-quiescent-backend",
];
const COUNT: &str = "net/netfilter/nf_conntrack_count";
/// Entries of the pod that fills the table.
const ENTRIES: u16 = 80;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let node = stage.node;
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(node)?;
    // Whoever ran before left connections that are nobody's business here.
    node.namespace().run("conntrack -F")?;
    let victim = stage.pod(&VICTIM)?;
    // Addresses are a pod's only while one of its processes lives.
    let mut sleep = Command::new("sleep");
    sleep.arg("600");
    let _asleep = victim.spawn(sleep)?;
    let before = Checked::run(node, stage.programs, &[])?;

    // The entries have to outlast the filling also where the clock jumps.
    let patient = [
        Setting::set(node, "net/netfilter/nf_conntrack_udp_timeout", "3600")?,
        Setting::set(node, "net/netfilter/nf_conntrack_udp_timeout_stream", "3600")?,
    ];
    let queries = query::Args { fresh_port: true, ..query::Args::new(DNS, ENTRIES) };
    stage.programs.query(victim, &queries)?.report()?;
    let entries: u64 = node.namespace().read_sysctl(COUNT)?.parse()?;
    // Now and then two queries take the same free port.
    ensure!(entries >= u64::from(ENTRIES) * 9 / 10, "only {entries} entries");
    ipvs::service(node, IPVS_DNS, &[COREDNS_0, COREDNS_1])?;
    ipvs::set_weight(node, IPVS_DNS, COREDNS_1.address(), 0)?;
    ipvs::keep_stale_connections(node)?;
    let max = (entries + entries / 8).to_string();
    drop(patient);
    let settings = [
        Setting::set(node, "net/netfilter/nf_conntrack_max", &max)?,
        Setting::set(node, "net/netfilter/nf_conntrack_udp_timeout", "5")?,
        Setting::set(node, "net/core/rmem_default", "65536")?,
        Setting::set(node, "net/core/netdev_max_backlog", "100")?,
    ];
    let after = Checked::run(node, stage.programs, &[])?;
    drop(settings);

    let expected = PROBLEMS.map(|problem| format!("{problem} of node"));
    let (found, kept) = after.new_since(&before);
    let mut problems = Vec::new();
    if after.exit_code != Some(1) {
        problems.push(format!("exit code {:?} with problems", after.exit_code));
    }
    if !kept {
        problems.push(format!("{:?} lost some of {:?}", after.findings, before.findings));
    }
    let owner = format!("conntrack-nearly-full: {} ", VICTIM.label());
    if !after.proof.iter().any(|proof| proof.starts_with(&owner)) {
        problems.push(format!("{} is not named first in {:?}", VICTIM.label(), after.proof));
    }
    problems.extend(after.unread.iter().map(|unread| format!("not read: {unread}")));
    Ok(Outcome::default().findings(&expected, &found).also(problems))
}
