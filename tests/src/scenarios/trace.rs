//! `dnsprobe trace`: one line per transaction, with what was asked, by whom,
//! and what came back.

use std::collections::BTreeMap;

use anyhow::Result;

use super::stage::{LOST_AFTER, Stage};
use super::{Kernels, Outcome, Scenario};
use crate::client::message::QueryType;
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{API, CART, COREDNS_0, COREDNS_1, DNS};
use crate::lab::dnsprobe::Mode;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::{MISSING_NAME, NAME};
use crate::observed::Observed;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "trace",
    about: "every transaction of two pods is told, with name, type, rcode and latency",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const MISSES: u16 = 6;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    let watch = stage.watch(Mode::Trace, LOST_AFTER)?;
    let found = stage.healthy_pod(DNS)?;
    let missing = query::Args {
        name: MISSING_NAME.into(),
        kind: QueryType::Aaaa,
        fresh_port: true,
        ..query::Args::new(DNS, MISSES)
    };
    let missing = stage.programs.query(stage.pod(&API)?, &missing)?.report()?;
    let found = found.report()?;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &found)?;
    expectation.healthy(&API.label(), &missing)?;
    let told = BTreeMap::from([
        ((CART.label(), plain(NAME), "A".into(), "NOERROR".into()), found.answered),
        ((API.label(), plain(MISSING_NAME), "AAAA".into(), "NXDOMAIN".into()), missing.answered),
    ]);
    let observed = watch.finish()?;
    let problems = (transactions(&observed) != told)
        .then(|| format!("transactions are {:?}, expected {told:?}", transactions(&observed)));
    Ok(Outcome::new(expectation, observed).also(problems))
}

/// Pod, name, type and response code.
type Kind = (String, String, String, String);

/// Client transactions by what they say, each with a plausible latency.
fn transactions(observed: &Observed) -> BTreeMap<Kind, u64> {
    let mut kinds = BTreeMap::new();
    for told in observed.transactions.iter().filter(|told| told.role == "client") {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let query = &told.query;
        let mut kind = text(&query.kind);
        if told.latency_seconds <= 0.0 || told.latency_seconds > 1.0 {
            kind += " with an impossible latency";
        }
        let key = (told.owner.label.clone(), plain(&text(&query.name)), kind, text(&told.rcode));
        *kinds.entry(key).or_default() += 1;
    }
    kinds
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_owned()
}
