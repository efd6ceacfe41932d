//! `tcp-unanswered`: servers that speak UDP only. One refuses connections, the
//! other's are dropped by a firewall; and a short answer whose client does come
//! back over TCP is nothing to report.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::{Outcome, Scenario, Stage, compare, scenario};
use crate::client::query;
use crate::client::tcp::{Args, Style};
use crate::lab::cast::{
    API, COREDNS_0, COREDNS_1, COREDNS_DEAF, COREDNS_GONE, DNS, VICTIM, WORKER,
};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::respond;

pub(in crate::scenarios) const SCENARIO: Scenario =
    scenario("tcp-unanswered", "servers that cannot be connected to over TCP", run);

const CODE: &str = "tcp-unanswered";

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .rule("filter", format!("-A FORWARD -p tcp -d {} --dport 53 -j DROP", COREDNS_1.address()))
        .load(stage.node)?;
    let short = respond::Args { truncate: true, tcp: true, ..respond::Args::default() };
    let _comes_back = stage.programs.respond(stage.pod(&COREDNS_GONE)?, &short)?;
    let udp_only = respond::Args::default();
    let _udp_only = stage.programs.respond(stage.pod(&COREDNS_DEAF)?, &udp_only)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    let cut = query::Args::new(COREDNS_GONE.address(), 2);
    stage.programs.query(stage.pod(&API)?, &cut)?.report()?;
    let whole = Args::new(COREDNS_GONE.address(), 2, Style::PerQuery);
    stage.programs.tcp(stage.pod(&API)?, &whole)?.report()?;
    let refused = Args::new(COREDNS_DEAF.address(), 3, Style::PerQuery);
    stage.programs.tcp(stage.pod(&VICTIM)?, &refused)?.report()?;
    let dropped = Args::new(COREDNS_1.address(), 2, Style::PerQuery);
    stage.programs.tcp(stage.pod(&WORKER)?, &dropped)?.report()?;
    healthy.report()?;
    // A client may take its time to come back.
    sleep(Duration::from_secs(2));
    compare(watch, &[(CODE, &VICTIM), (CODE, &WORKER)], |diagnosis| {
        let counts: Vec<u64> = diagnosis.of(CODE).map(|finding| finding.count).collect();
        let expected = counts.contains(&3) && counts.contains(&2) && counts.len() == 2;
        (!expected).then(|| format!("{CODE} counts {counts:?}, not 3 and 2")).into_iter().collect()
    })
}
