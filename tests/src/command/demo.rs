//! `lab demo`: a day in the life of a node, in under a minute. dnsprobe's own
//! live table runs all the time, each fault is announced when it is caused, and
//! at the end what dnsprobe measured stands beside what the clients measured.
//! A second dnsprobe with JSON output checks that the story came out as told.

use std::io;
use std::process::{Command, ExitCode, Stdio};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::Signal;

use crate::client::resolver::Resolver;
use crate::client::{Report, query};
use crate::expectation::Expectation;
use crate::lab::cast::{
    self, API, CART, COREDNS_0, COREDNS_1, DNS, FRONTEND, IPVS_CLIENT, IPVS_DNS, SECOND_DNS,
    TWO_NAMESERVERS,
};
use crate::lab::clients::{Client, Lookup, Pace};
use crate::lab::dnsprobe::{Mode, Watch};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::kernel::{Kernel, merges_after_queue};
use crate::lab::node::Place;
use crate::lab::process::{AMPLE, Process};
use crate::lab::recording::Keep;
use crate::lab::spec::Spec;
use crate::lab::{Node, Programs, bridge, hold, ipvs, server};
use crate::observed::Observed;

static SERVERS: [Spec; 2] = [COREDNS_0, COREDNS_1];
const QUICK: Duration = Duration::from_millis(20);
const SLOW: Duration = Duration::from_millis(1200);
/// Longer than the slowest answer of the story, shorter than glibc's patience.
const LOST_AFTER: Duration = Duration::from_secs(4);
/// Time to look at the table between two faults.
const SCENE: Duration = Duration::from_secs(3);
const QUEUE: u16 = 7;
const IPVS_PORT: u16 = 5353;
const NEAR_MISSES: u64 = 3;
const LATE_ANSWERS: u64 = 2;
const MUSL_LOOKUPS: u32 = 2;
const QUERIES_OF_SECOND_ATTEMPT: u64 = 2;

/// The running story.
struct Story<'a> {
    node: &'a Node,
    programs: &'a Programs,
    start: Instant,
}

/// A dnsprobe whose tables are passed on.
struct Table {
    process: Process,
    output: JoinHandle<io::Result<()>>,
}

impl Table {
    /// Let it print its last table and the verdicts.
    fn finish(self) -> Result<()> {
        self.process.signal(Signal::SIGINT)?;
        self.process.finish(AMPLE)?;
        self.output.join().map_err(|_| anyhow!("passing the tables on panicked"))??;
        Ok(())
    }
}

/// Tell it; exit code 1 if it did not come out as told.
pub fn run(programs: &Programs) -> Result<ExitCode> {
    programs.warm_up()?;
    println!("building a node with two DNS servers and their clients");
    let node = Node::up(Place::WholeMachine, &cast::ALL)?;
    services(&SERVERS).load(&node)?;
    ipvs::service(&node, IPVS_DNS, &SERVERS)?;
    ipvs::keep_stale_connections(&node)?;
    let mut story = Story { node: &node, programs, start: Instant::now() };
    story.delay(QUICK, QUICK)?;
    println!("starting dnsprobe");
    let checking = Watch::start(
        &programs.dnsprobe,
        Mode::Top,
        LOST_AFTER,
        node.directories(),
        Keep::default(),
    )?;
    let table = story.start_table()?;
    story.start = Instant::now();
    story.tell(checking, table)
}

impl Story<'_> {
    fn tell(&self, checking: Watch, table: Table) -> Result<ExitCode> {
        let mut expectation = Expectation::default();
        self.say("all is well: the pods resolve, both DNS servers are 20 ms away");
        let steady = query::Args { interval_ms: 80, ..query::Args::new(DNS, 220) };
        let healthy = self.measured(&CART, &steady)?;
        let pace = Pace::Every(Duration::from_millis(400));
        let go = self.resolve(&API, Resolver::Go, 1, 50, pace)?;
        let before = self.measured(&IPVS_CLIENT, &from_kept_port(10))?.report()?;
        expectation.healthy(&IPVS_CLIENT.label(), &before)?;

        sleep(SCENE);
        self.near_misses(&mut expectation)?;
        sleep(SCENE);
        let late = self.late_answers(&mut expectation)?;
        sleep(SCENE);
        let left = self.scale_in()?;
        let stale = self.measured(&IPVS_CLIENT, &from_kept_port(5))?;
        sleep(SCENE);
        self.colliding_replies(left, &mut expectation)?;
        expectation.loses(&IPVS_CLIENT.label(), &stale.report()?, "ipvs-stale-backend")?;

        let healthy = healthy.report()?;
        expectation.healthy(&CART.label(), &healthy)?;
        expectation.healthy(&API.label(), &go.report()?)?;
        for client in late {
            expectation.healthy(&FRONTEND.label(), &second_attempt(client)?)?;
        }
        self.say("all clients are done");
        let observed = checking.finish()?;
        table.finish()?;
        println!("\nmeasured by dnsprobe and by the client itself, servers 20 ms away:");
        print_latency(&observed, &CART, &healthy)?;
        print_latency(&observed, &IPVS_CLIENT, &before)?;
        let problems = expectation.problems(&observed);
        for problem in &problems {
            println!("not as told: {problem}");
        }
        println!("\n{:.1} s  the end", self.start.elapsed().as_secs_f64());
        Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The backends' ARP entries expire while glibc asks for A and AAAA: both
    /// queries wait for the same moment, race, and the kernel resolves it.
    fn near_misses(&self, expectation: &mut Expectation) -> Result<()> {
        self.say("inject: ARP entries of the DNS pods expire while frontend-glibc resolves (A/AAAA race)");
        let mut glibc =
            self.resolve(&FRONTEND, Resolver::Glibc, 1, NEAR_MISSES.try_into()?, Pace::OnRequest)?;
        for _ in 0..NEAR_MISSES {
            let translated = bridge::translated(self.node)?;
            bridge::forget_neighbours(self.node, &SERVERS)?;
            glibc.request()?;
            bridge::wait_for_translated(self.node, translated + 2)?;
            bridge::learn_neighbours(self.node, &SERVERS)?;
        }
        expectation.healthy(&FRONTEND.label(), &glibc.report()?)?;
        expectation.near_misses(&FRONTEND.label(), "conntrack-clash-resolved", NEAR_MISSES);
        Ok(())
    }

    /// The same race with a slow server.
    fn late_answers(&self, expectation: &mut Expectation) -> Result<Vec<Client>> {
        self.say("inject: answers over the bridge now take 1.2 s, and the same race again");
        self.delay(QUICK, SLOW)?;
        let translated = bridge::translated(self.node)?;
        bridge::forget_neighbours(self.node, &SERVERS)?;
        let mut clients = Vec::new();
        for client in 1..=LATE_ANSWERS {
            // One after the other, so that each one's pair is split.
            clients.push(self.resolve(&FRONTEND, Resolver::Glibc, 1, 1, Pace::Every(QUICK))?);
            bridge::wait_for_translated(self.node, translated + 2 * client)?;
        }
        bridge::learn_neighbours(self.node, &SERVERS)?;
        // A is answered; AAAA's answer comes back untranslated.
        let report = Report { sent: 2 * LATE_ANSWERS, answered: LATE_ANSWERS, ..Report::default() };
        expectation.loses(&FRONTEND.label(), &report, "conntrack-clash-late-answer")?;
        expectation.near_misses(&FRONTEND.label(), "conntrack-clash-resolved", LATE_ANSWERS);
        Ok(clients)
    }

    /// Take the IPVS client's backend away.
    fn scale_in(&self) -> Result<&'static Spec> {
        let backend = ipvs::backend_of(self.node, IPVS_CLIENT.address(), IPVS_PORT)?;
        let [first, second] = &SERVERS;
        let (gone, left) =
            if first.address() == backend { (first, second) } else { (second, first) };
        self.say(&format!("inject: {} is scaled in; ipvs-client keeps its source port", gone.name));
        ipvs::remove_backend(self.node, IPVS_DNS, backend)?;
        Ok(left)
    }

    /// Both service addresses lead to the one backend left, and musl asks both
    /// at once from one socket.
    fn colliding_replies(&self, left: &Spec, expectation: &mut Expectation) -> Result<()> {
        self.say(&format!(
            "inject: both DNS services lead to {}; musl asks both from one socket",
            left.name
        ));
        services(&[*left])
            .rule("nat", hold::rule(&TWO_NAMESERVERS.address().to_string(), QUEUE))
            .load(self.node)?;
        let _hold = self.programs.hold(&hold::Args { queue: QUEUE, count: 4 })?;
        let pace = Pace::Every(Duration::from_millis(100));
        let asked =
            self.resolve(&TWO_NAMESERVERS, Resolver::Musl, 2, MUSL_LOOKUPS, pace)?.report()?;
        let lookups = u64::from(MUSL_LOOKUPS);
        let report = Report { answered: asked.sent - 2 * lookups, ..asked };
        expectation.loses(&TWO_NAMESERVERS.label(), &report, "conntrack-clash")?;
        if merges_after_queue(Kernel::running()?) {
            expectation.near_misses(&TWO_NAMESERVERS.label(), "conntrack-clash-resolved", lookups);
        }
        Ok(())
    }

    fn say(&self, what: &str) {
        println!("{:4.1} s  {what}", self.start.elapsed().as_secs_f64());
    }

    fn delay(&self, to_pods: Duration, to_bridge: Duration) -> Result<()> {
        for server in &SERVERS {
            server::set_delay(self.node.pod(server)?, server::TO_PODS, to_pods)?;
            server::set_delay(self.node.pod(server)?, server::TO_BRIDGE, to_bridge)?;
        }
        Ok(())
    }

    /// dnsprobe as the user sees it. Through a pipe it prints one table after
    /// another instead of redrawing one, so that the story stays readable
    /// between them.
    fn start_table(&self) -> Result<Table> {
        let mut command = Command::new(&self.programs.dnsprobe);
        command
            .args(["top", "--interval", "5s", "--lost-after"])
            .arg(format!("{}ms", LOST_AFTER.as_millis()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start dnsprobe")?;
        let mut tables = child.stdout.take().context("dnsprobe's output is a pipe")?;
        let output = thread::spawn(move || io::copy(&mut tables, &mut io::stdout()).map(drop));
        let mut process = Process::new("dnsprobe top", child);
        process.wait_for("dnsprobe: watching", AMPLE)?;
        Ok(Table { process, output })
    }

    fn measured(&self, spec: &Spec, args: &query::Args) -> Result<Client> {
        self.programs.query(self.node.pod(spec)?, args)
    }

    fn resolve(
        &self,
        spec: &Spec,
        resolver: Resolver,
        nameservers: u64,
        count: u32,
        pace: Pace,
    ) -> Result<Client> {
        let lookup = Lookup { name: server::NAME, count, pace, options: None };
        self.programs.resolve(self.node.pod(spec)?, resolver, nameservers, lookup)
    }
}

/// Queries through IPVS from the port the client keeps.
fn from_kept_port(count: u16) -> query::Args {
    query::Args {
        source_port: IPVS_PORT,
        interval_ms: 100,
        timeout_ms: 300,
        ..query::Args::new(IPVS_DNS, count)
    }
}

/// Both DNS services in iptables mode.
fn services(backends: &[Spec]) -> Rules {
    Rules::default()
        .bridge_service(DNS, &SERVERS, Balance::InTurn)
        .service(DNS, backends, Balance::Random)
        .service(SECOND_DNS, backends, Balance::Random)
}

/// What glibc sends when a look-up has waited five seconds for one of its two
/// answers.
fn second_attempt(client: Client) -> Result<Report> {
    let lookups = client.lookups()?;
    ensure!(lookups.failed == 0, "a look-up failed also at the second attempt");
    let queries = QUERIES_OF_SECOND_ATTEMPT * lookups.seconds.len() as u64;
    Ok(Report { sent: queries, answered: queries, ..Report::default() })
}

/// What dnsprobe measured for a pod beside what its client measured.
fn print_latency(observed: &Observed, spec: &Spec, report: &Report) -> Result<()> {
    let own = report.rtt.context("the client measured nothing")?;
    let label = spec.label();
    let seen = observed
        .last
        .pods
        .iter()
        .find(|row| row.role == "client" && row.owner.label == label)
        .and_then(|row| row.total.latency_seconds)
        .with_context(|| format!("dnsprobe measured nothing for {label}"))?;
    for (name, seen, own) in [("p50", seen.p50, own.p50), ("p99", seen.p99, own.p99)] {
        println!(
            "  {label}  {name}  dnsprobe {:.2} ms  client {:.2} ms  ({:+.1} %)",
            seen * 1e3,
            own * 1e3,
            (seen / own - 1.0) * 100.0
        );
    }
    Ok(())
}
