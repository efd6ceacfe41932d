//! `dnsprobe query` where nothing is wrong: from the pod's own namespace it
//! finds the service, both backends and the search list, and says so.

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::lab::cast::{API, COREDNS_0, COREDNS_1, DNS};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::NAME;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "query-healthy",
    about: "dnsprobe query from a pod: service and backends answer, nothing to report",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

/// With the pod's search list the second name that is tried.
const SHORT_NAME: &str = "cart.shop";

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    let asked = stage.programs.ask(stage.node, stage.pod(&API)?, SHORT_NAME, 3)?;
    let backends = [COREDNS_0, COREDNS_1].map(|spec| format!("{}:53 3/3", spec.address()));
    let mut answers = vec![format!("{DNS}:53 3/3")];
    answers.extend(backends);
    let names: Vec<_> = asked.report.steps.iter().map(|step| step.name.clone()).collect();
    let owner = asked.report.owner.as_ref().map(|owner| owner.label.clone());
    let problems = [
        differs("exit code", &asked.code, &Some(0)),
        differs("owner", &owner, &Some(API.label())),
        differs("names", &names, &vec![format!("{SHORT_NAME}.{SEARCHED}"), NAME.to_owned()]),
        differs("answers", &asked.answers(), &answers),
        differs("services", &asked.report.servers[0].service, &true),
        differs("unreadable", &asked.report.unreadable, &Vec::new()),
    ];
    Ok(Outcome::default()
        .findings(&["nothing".to_owned()], &asked.conclusions())
        .also(problems.into_iter().flatten()))
}

/// The first suffix of every pod's search list.
const SEARCHED: &str = "shop.svc.cluster.local.";

fn differs<T: PartialEq + std::fmt::Debug>(what: &str, seen: &T, expected: &T) -> Option<String> {
    (seen != expected).then(|| format!("{what}: {seen:?} instead of {expected:?}"))
}
