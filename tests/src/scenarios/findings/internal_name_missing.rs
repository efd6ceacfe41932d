//! `internal-name-missing`: a Service, the pod of a headless one and that of a
//! StatefulSet do not exist; a real resolver asks for a short name, the others
//! for full ones.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Outcome, Scenario, Stage, compare, item, scenario};
use crate::client::query;
use crate::client::resolver::Resolver;
use crate::lab::cast::{API, COREDNS_0, COREDNS_1, DNS, IPVS_CLIENT, VICTIM};
use crate::lab::clients::{Lookup, Pace};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::MISSING_NAME;

pub(in crate::scenarios) const SCENARIO: Scenario = scenario(
    "internal-name-missing",
    "a Service, a headless and a StatefulSet pod name do not exist",
    run,
);

const CODE: &str = "internal-name-missing";
const HEADLESS: &str = "node-a.db.shop.svc.cluster.local.";
const STATEFUL_SET: &str = "web-0.nginx.shop.svc.cluster.local.";

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    for (spec, name) in [(API, HEADLESS), (IPVS_CLIENT, STATEFUL_SET)] {
        let args = query::Args { name: name.into(), ..query::Args::new(DNS, 3) };
        stage.programs.query(stage.pod(&spec)?, &args)?.report()?;
    }
    // The last name tried is `missing` itself, which the server refuses; only
    // a full name ends without that.
    let pace = Pace::Every(Duration::from_millis(400));
    let lookup = Lookup { name: MISSING_NAME, count: 2, pace, options: None };
    let resolver = stage.programs.resolve(stage.pod(&VICTIM)?, Resolver::Glibc, 1, lookup)?;
    ensure!(resolver.lookups()?.failed == 2, "the name exists");
    healthy.report()?;
    let expected = [(CODE, &VICTIM), (CODE, &API), (CODE, &IPVS_CLIENT)];
    compare(watch, &expected, |diagnosis| {
        let mut problems = [
            item(diagnosis, CODE, MISSING_NAME, 2),
            item(diagnosis, CODE, HEADLESS, 3),
            item(diagnosis, CODE, STATEFUL_SET, 3),
        ]
        .concat();
        let mut kinds: Vec<_> =
            diagnosis.of(CODE).filter_map(|finding| finding.subject.as_deref()).collect();
        kinds.sort_unstable();
        if kinds != ["Service", "StatefulSet pod", "headless Service"] {
            problems.push(format!("kinds are {kinds:?}"));
        }
        problems
    })
}
