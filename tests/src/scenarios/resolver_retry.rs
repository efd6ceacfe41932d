//! A resolver asks again: the first pair of a glibc look-up is dropped by a
//! rule, the repetition a second later is answered. The two lost queries are
//! the rule's, the other two are answered, and the look-up took a second.

use anyhow::{Result, ensure};

use super::stage::{LOST_AFTER, Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::client::Report;
use crate::client::resolver::Resolver;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, VICTIM};
use crate::lab::clients::{Lookup, Pace};
use crate::lab::dnsprobe::Mode;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::NAME;
use crate::observed::Observed;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "resolver-retry",
    about: "glibc's first pair is dropped by a rule, its second is answered",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    // Each of the two rules drops the first packet it sees, and no other.
    let first = format!(
        "-A FORWARD -s {} -p udp --dport 53 -m statistic --mode nth --every 1000000 --packet 0 \
         -j DROP",
        VICTIM.address()
    );
    Rules::default()
        .service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random)
        .rule("filter", first.clone())
        .rule("filter", first)
        .load(stage.node)?;
    let watch = stage.watch(Mode::Trace, LOST_AFTER)?;
    let healthy = stage.healthy_pod(DNS)?;
    let lookup = Lookup { name: NAME, count: 1, pace: Pace::OnRequest, options: Some("timeout:1") };
    let mut client = stage.programs.resolve(stage.pod(&VICTIM)?, Resolver::Glibc, 1, lookup)?;
    client.request()?;
    let lookups = client.lookups()?;
    ensure!(lookups.failed == 0, "the look-up failed");
    let seconds = lookups.seconds.first().copied().unwrap_or_default();
    ensure!((0.9..2.0).contains(&seconds), "the look-up took {seconds:.3} s, not about one");

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    let report = Report { sent: 4, answered: 2, ..Report::default() };
    expectation.loses(&VICTIM.label(), &report, "policy-drop")?;
    let observed = watch.finish()?;
    let problems = wrong_links(&observed, seconds);
    Ok(Outcome::new(expectation, observed).also(problems))
}

/// Each of the two lost queries is linked to its repetition, and the look-up
/// took as long as the client says.
fn wrong_links(observed: &Observed, seconds: f64) -> Vec<String> {
    let mut problems: Vec<String> =
        same("linked repetitions", observed.retries.len() as u64, 2).into_iter().collect();
    for retry in &observed.retries {
        let (asked, lost) = (&retry.query, &retry.lost.query);
        if retry.owner.label != VICTIM.label()
            || retry.lost.cause != "policy-drop"
            || !retry.same_socket
            || (&asked.name, &asked.kind) != (&lost.name, &lost.kind)
            || (retry.lookup_seconds - seconds).abs() > 0.2
        {
            problems.push(format!("wrong link, the look-up took {seconds:.3} s: {retry:?}"));
        }
    }
    problems
}
