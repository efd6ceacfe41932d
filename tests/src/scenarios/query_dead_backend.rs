//! `dnsprobe query` with one of two backends dead: a server that takes every
//! query and answers none. Half of the pod's queries are lost, and only asking
//! each backend by itself tells which.

use anyhow::Result;

use super::stage::{Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::lab::cast::{API, COREDNS_0, COREDNS_DEAF, DNS};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::{self, NAME};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "query-dead-backend",
    about: "dnsprobe query names the one of two backends that does not answer",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_DEAF], Balance::InTurn).load(stage.node)?;
    let deaf = server::Options { local_only: true, ..server::Options::default() };
    let _deaf = server::start(stage.pod(&COREDNS_DEAF)?, &deaf)?;
    let asked = stage.programs.ask(stage.node, stage.pod(&API)?, NAME, 4)?;
    let expected = format!("backend-silent of {}:53", COREDNS_DEAF.address());
    let alive = format!("{}:53 4/4", COREDNS_0.address());
    let is_told = asked.answers().contains(&alive);
    let code = asked.code.map_or(0, i32::unsigned_abs);
    Ok(Outcome::default()
        .findings(&[expected], &asked.conclusions())
        .also(same("exit code", u64::from(code), 1))
        .also((!is_told).then(|| format!("no {alive} in {:?}", asked.answers()))))
}
