//! `upstream-nxdomain`, `upstream-servfail`, `upstream-refused`: a DNS server on
//! the node forwards to an upstream that answers with that code, and passes it
//! on. Names that the server knows itself are answered.

use anyhow::{Result, ensure};

use super::{Outcome, Scenario, Stage, compare, count, scenario};
use crate::client::query;
use crate::lab::cast::{COREDNS_DEAF, COREDNS_GONE, DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::respond;
use crate::lab::server::{self, MISSING_OUTSIDE};

pub(in crate::scenarios) const NXDOMAIN: Scenario = scenario(
    "upstream-nxdomain",
    "the upstream says that an external name does not exist",
    |stage: &Stage<'_>| run(stage, "NXDOMAIN", 3),
);
pub(in crate::scenarios) const SERVFAIL: Scenario = scenario(
    "upstream-servfail",
    "the upstream answers SERVFAIL for an external name",
    |stage: &Stage<'_>| run(stage, "SERVFAIL", 2),
);
pub(in crate::scenarios) const REFUSED: Scenario = scenario(
    "upstream-refused",
    "the upstream answers REFUSED for an external name",
    |stage: &Stage<'_>| run(stage, "REFUSED", 5),
);

const QUERIES: u16 = 4;

fn run(stage: &Stage<'_>, name: &str, rcode: u8) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_DEAF], Balance::Random).load(stage.node)?;
    let wrong = respond::Args { rcode, ..respond::Args::default() };
    let _upstream = stage.programs.respond(stage.pod(&COREDNS_GONE)?, &wrong)?;
    let options =
        server::Options { upstream: Some(COREDNS_GONE.address()), ..server::Options::default() };
    let _server = server::start(stage.pod(&COREDNS_DEAF)?, &options)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    let args = query::Args {
        name: MISSING_OUTSIDE.into(),
        interval_ms: 20,
        ..query::Args::new(DNS, QUERIES)
    };
    let report = stage.programs.query(stage.pod(&VICTIM)?, &args)?.report()?;
    ensure!(report.rcodes.get(name) == Some(&u64::from(QUERIES)), "answers: {:?}", report.rcodes);
    healthy.report()?;
    let code = format!("upstream-{}", name.to_lowercase());
    compare(watch, &[(&code, &VICTIM)], |diagnosis| {
        let mut problems = count(diagnosis, &code, u64::from(QUERIES));
        let upstream = format!("{}:53", COREDNS_GONE.address());
        for finding in diagnosis.of(&code) {
            if finding.subject.as_ref() != Some(&upstream) {
                problems.push(format!("the upstream is {:?}, not {upstream}", finding.subject));
            }
        }
        problems
    })
}
