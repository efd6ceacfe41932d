//! `dnsprobe query` where a rule drops queries to the service address before
//! it is translated: every backend answers, the service address does not. A pod
//! the rule does not mean finds nothing wrong.

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::lab::cast::{API, COREDNS_0, COREDNS_1, DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::NAME;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "query-service-policy",
    about: "dnsprobe query: the service address is dropped, all backends answer",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let source = VICTIM.address();
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .rule("raw", format!("-A PREROUTING -s {source} -d {DNS} -p udp --dport 53 -j DROP"))
        .load(stage.node)?;
    let victim = stage.programs.ask(stage.node, stage.pod(&VICTIM)?, NAME, 2)?;
    let other = stage.programs.ask(stage.node, stage.pod(&API)?, NAME, 2)?;
    let told = |who: &str, conclusions: Vec<String>| -> Vec<String> {
        conclusions.into_iter().map(|conclusion| format!("{who}: {conclusion}")).collect()
    };
    let mut found = told("victim", victim.conclusions());
    found.extend(told("other", other.conclusions()));
    let expected =
        [format!("victim: service-address-silent of {DNS}:53"), "other: nothing".to_owned()];
    let code = |code: Option<i32>| u64::from(code.map_or(99, i32::unsigned_abs));
    Ok(Outcome::default()
        .findings(&expected, &found)
        .also(same("the victim's exit code", code(victim.code), 1))
        .also(same("the other pod's exit code", code(other.code), 0)))
}
