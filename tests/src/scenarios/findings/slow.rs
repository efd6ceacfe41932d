//! `slow-*`: one scenario for each part of the latency that can be the longest.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use super::{Outcome, Scenario, Stage, compare, scenario};
use crate::client::query;
use crate::lab::cast::{COREDNS_0, COREDNS_1, COREDNS_DEAF, COREDNS_GONE, DNS, SECOND_DNS, VICTIM};
use crate::lab::diagnose::{Examination, SLOW_AFTER};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::{self, OUTSIDE};
use crate::lab::spec::Spec;
use crate::lab::{Pod, clients::Client, respond};

pub(in crate::scenarios) const SERVER_QUEUE: Scenario =
    scenario("slow-server-queue", "the server does not read its socket for a while", server_queue);
pub(in crate::scenarios) const SERVER: Scenario =
    scenario("slow-server", "the server takes its time with every answer", slow_server);
pub(in crate::scenarios) const UPSTREAM: Scenario =
    scenario("slow-upstream", "the server waits for a slow upstream", slow_upstream);
pub(in crate::scenarios) const NETWORK: Scenario =
    scenario("slow-network", "answers wait in a queue between server and client", slow_network);
pub(in crate::scenarios) const CLIENT: Scenario =
    scenario("slow-client", "the client reads its answers late", slow_client);

/// Far beyond what counts as slow.
const PAUSE: Duration = Duration::from_millis(600);
const QUERIES: u16 = 4;

/// The healthy pods' service, and the slow one's.
fn services(stage: &Stage<'_>, slow: Spec) -> Result<()> {
    Rules::default()
        .service(DNS, &[COREDNS_1], Balance::Random)
        .service(SECOND_DNS, &[slow], Balance::Random)
        .load(stage.node)
}

fn ask(stage: &Stage<'_>, args: query::Args) -> Result<Client> {
    stage.programs.query(stage.pod(&VICTIM)?, &query::Args { timeout_ms: 1900, ..args })
}

/// All slow queries were slow for the client, too, and dnsprobe says why.
fn judge(watch: Examination, client: Client, healthy: Client, code: &str) -> Result<Outcome> {
    let report = client.report()?;
    let slowest = report.rtt.map_or(0.0, |rtt| rtt.max);
    ensure!(report.lost() == 0, "{} queries were lost", report.lost());
    ensure!(slowest >= SLOW_AFTER.as_secs_f64(), "the slowest took {slowest} s only");
    healthy.report()?;
    compare(watch, &[(code, &VICTIM)], |_| Vec::new())
}

fn server_queue(stage: &Stage<'_>) -> Result<Outcome> {
    services(stage, COREDNS_GONE)?;
    let server = server::start(stage.pod(&COREDNS_GONE)?, &server::Options::default())?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    server.signal(Signal::SIGSTOP)?;
    let client = ask(stage, query::Args { burst: true, ..query::Args::new(SECOND_DNS, QUERIES) })?;
    wait_for_queue(stage.pod(&COREDNS_GONE)?)?;
    sleep(PAUSE);
    server.signal(Signal::SIGCONT)?;
    judge(watch, client, healthy, "slow-server-queue")
}

/// Wait until a query waits in the server's socket.
fn wait_for_queue(pod: &Pod) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    // Port 53 in hexadecimal; then state and the two queues.
    let waits = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(":0035"))
            && fields.nth(2).is_some_and(|queues| !queues.ends_with(":00000000"))
    };
    while !pod.namespace().run("cat /proc/net/udp")?.lines().any(waits) {
        ensure!(Instant::now() < deadline, "no query waits in the server's socket");
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn slow_server(stage: &Stage<'_>) -> Result<Outcome> {
    services(stage, COREDNS_GONE)?;
    let delay_ms = u64::try_from(PAUSE.as_millis())?;
    let slow = respond::Args { delay_ms, ..respond::Args::default() };
    let _server = stage.programs.respond(stage.pod(&COREDNS_GONE)?, &slow)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    let client = ask(stage, query::Args::new(SECOND_DNS, QUERIES))?;
    judge(watch, client, healthy, "slow-server")
}

fn slow_upstream(stage: &Stage<'_>) -> Result<Outcome> {
    services(stage, COREDNS_DEAF)?;
    let delay_ms = u64::try_from(PAUSE.as_millis())?;
    let slow = respond::Args { delay_ms, ..respond::Args::default() };
    let _upstream = stage.programs.respond(stage.pod(&COREDNS_GONE)?, &slow)?;
    let options =
        server::Options { upstream: Some(COREDNS_GONE.address()), ..server::Options::default() };
    let _server = server::start(stage.pod(&COREDNS_DEAF)?, &options)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    let args = query::Args { name: OUTSIDE.into(), ..query::Args::new(SECOND_DNS, QUERIES) };
    let client = ask(stage, args)?;
    judge(watch, client, healthy, "slow-upstream")
}

fn slow_network(stage: &Stage<'_>) -> Result<Outcome> {
    services(stage, COREDNS_0)?;
    server::set_delay(stage.pod(&COREDNS_0)?, server::TO_PODS, PAUSE)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    let client = ask(stage, query::Args::new(SECOND_DNS, QUERIES))?;
    judge(watch, client, healthy, "slow-network")
}

fn slow_client(stage: &Stage<'_>) -> Result<Outcome> {
    services(stage, COREDNS_0)?;
    let watch = stage.diagnose()?;
    let healthy = stage.healthy_pod(DNS)?;
    let read_after_ms = u64::try_from(PAUSE.as_millis())?;
    let late = query::Args { burst: true, read_after_ms, ..query::Args::new(SECOND_DNS, QUERIES) };
    let client = ask(stage, late)?;
    judge(watch, client, healthy, "slow-client")
}
