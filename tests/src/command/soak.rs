//! `lab soak`: clients ask as fast as told for as long as told, pods come and go,
//! and `dnsprobe serve` watches. Its memory has to stay what it is, its counts
//! have to be the clients', and the clients must not notice. Times are real here,
//! so they are only as good as the machine is quiet.

mod verdict;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::verdict::{Asked, Counted, Sample, Soak};
use crate::client::steady;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, VICTIM};
use crate::lab::crowd::Crowd;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::node::Place;
use crate::lab::serve::Server;
use crate::lab::server::NAMES;
use crate::lab::spec::{Spec, Wiring};
use crate::lab::{Node, Programs};
use crate::observed::Observed;

/// How much, how long.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Queries per second, of both clients together.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// How long dnsprobe watches, seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Directory for the result.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

const CLIENTS: [Spec; 2] = [CART, VICTIM];
const LOST_AFTER: Duration = Duration::from_secs(5);
const PORT: u16 = 9353;
/// Pods beside the clients, at any time.
const CROWD: u32 = 50;
/// How many of them are replaced at each tick: enough that every bound is met
/// before the warm-up is over.
const REPLACED: usize = 5;
const TICK: Duration = Duration::from_millis(250);
/// So many samples are taken of dnsprobe.
const SAMPLES: u32 = 60;
/// How long clients may take beyond their time on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Run it; exit code 1 if anything grew, was lost or was noticed.
pub fn run(args: &Args, programs: &Programs) -> Result<ExitCode> {
    let specs: Vec<Spec> = [COREDNS_0, COREDNS_1]
        .iter()
        .chain(&CLIENTS)
        .map(|spec| Spec { wiring: Wiring::PointToPoint, ..*spec })
        .collect();
    let node = Node::up(Place::WholeMachine, &specs)?;
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(&node)?;
    let mut crowd = Crowd::new(&node.directories().cgroups, &node.directories().logs)?;
    let soak = play(args, &node, programs, &mut crowd)?;
    for problem in &soak.problems {
        println!("FAIL  {problem}");
    }
    let text = serde_json::to_string_pretty(&soak)?;
    fs::write(args.out.join("soak.json"), text).context("soak.json")?;
    println!("{soak}");
    Ok(if soak.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn play(args: &Args, node: &Node, programs: &Programs, crowd: &mut Crowd) -> Result<Soak> {
    let alone = (args.seconds / 6).max(30);
    eprintln!("{alone} s without dnsprobe");
    let before = ask(args, alone, node, programs, crowd, &mut |_| Ok(()))?;

    let directories = node.directories();
    let server = Server::start(&programs.dnsprobe, PORT, LOST_AFTER, directories, &[])?;
    eprintln!("{} s with dnsprobe", args.seconds);
    let every = Duration::from_secs(args.seconds) / SAMPLES;
    let mut samples: Vec<Sample> = Vec::new();
    let gone_before = crowd.gone();
    let with = ask(args, args.seconds, node, programs, crowd, &mut |at| {
        let due = every * u32::try_from(samples.len()).unwrap_or(SAMPLES);
        if at >= due {
            samples.push(sample(&server, at)?);
        }
        Ok(())
    })?;
    let pods_gone = crowd.gone() - gone_before;
    // Whatever is unanswered is decided.
    sleep(LOST_AFTER + Duration::from_secs(2));
    samples.push(sample(&server, Duration::from_secs(args.seconds))?);
    let counted = count(&server)?;
    server.finish()?;

    eprintln!("{alone} s without dnsprobe again");
    let after = ask(args, alone, node, programs, crowd, &mut |_| Ok(()))?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    let (rate, seconds) = (args.rate, args.seconds);
    Ok(Soak {
        kernel,
        rate,
        seconds,
        pods_gone,
        before,
        with,
        after,
        counted,
        samples,
        problems: Vec::new(),
    }
    .judged())
}

/// Clients ask, pods come and go, and somebody looks at the time since the start.
fn ask(
    args: &Args,
    seconds: u64,
    node: &Node,
    programs: &Programs,
    crowd: &mut Crowd,
    look: &mut dyn FnMut(Duration) -> Result<()>,
) -> Result<Asked> {
    let load = steady::Args {
        server: DNS.into(),
        names: NAMES.join(","),
        rate: f64::from(args.rate) / 2.0 / CLIENTS.len() as f64,
        seconds,
        timeout_ms: 5000,
    };
    let clients = CLIENTS
        .iter()
        .map(|spec| programs.steady(node.pod(spec)?, &load))
        .collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        let tick = Instant::now();
        crowd.leave(REPLACED)?;
        crowd.grow(CROWD)?;
        crowd.ask()?;
        look(start.elapsed())?;
        sleep(TICK.saturating_sub(tick.elapsed()));
    }
    let reports = clients
        .into_iter()
        .map(|client| client.report_within(PATIENCE))
        .collect::<Result<Vec<_>>>()?;
    Ok(Asked::of(&reports))
}

fn sample(server: &Server, at: Duration) -> Result<Sample> {
    let page = server.text("/metrics")?;
    let value = |name: &str| -> Result<f64> {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.with_context(|| format!("no {name}"))?.parse().context(name.to_owned())
    };
    Ok(Sample {
        seconds: at.as_secs_f64(),
        resident_bytes: value("process_resident_memory_bytes")?,
        processor_seconds: value("process_cpu_seconds_total")?,
        lost_events: value("dnsprobe_lost_events_total")?,
        not_kept: value("dnsprobe_in_flight_full_total")?
            + value("dnsprobe_aggregates_full_total")?,
        missed_runs: value("dnsprobe_missed_program_runs_total")?,
    })
}

/// What dnsprobe counted of the two clients.
fn count(server: &Server) -> Result<Counted> {
    let snapshot = server.text("/api/v1/snapshot")?;
    let last = Observed::parse(&[snapshot])?.last;
    let mut counted = Counted::default();
    for spec in CLIENTS {
        let label = spec.label();
        let row = last.pods.iter().find(|row| row.role == "client" && row.owner.label == label);
        let total = &row.with_context(|| format!("dnsprobe saw nothing of {label}"))?.total;
        counted.queries += total.queries;
        counted.answered += total.answered;
        counted.lost += total.lost_total;
    }
    Ok(counted)
}
