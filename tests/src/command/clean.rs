//! `lab clean`: nothing is wrong for as long as you like. Clients in several
//! pods ask at an even rate, two measuring ones and the real resolvers, and
//! dnsprobe must count every query and find nothing.

mod diagnosis;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use self::diagnosis::{Diagnosing, Diagnosis};
use self::verdict::{Asked, Cleanliness};
use crate::client::resolver::Resolver;
use crate::client::steady;
use crate::lab::cast::{API, CART, COREDNS_0, COREDNS_1, DNS, FRONTEND, VICTIM, WORKER};
use crate::lab::clients::{Client, Lookup, Pace};
use crate::lab::dnsprobe::{Mode, Watch};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::node::{self, Place};
use crate::lab::recording::Keep;
use crate::lab::server::NAMES;
use crate::lab::spec::{Spec, Wiring};
use crate::lab::{Node, Programs};
use crate::observed::Observed;

/// How much, how long, where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Queries per second, of all clients together.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// How long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// On the machine's own kernel, in namespaces, instead of in a guest.
    #[arg(long)]
    native: bool,
    /// Directory for dnsprobe's output and the result.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// dnsprobe's own default.
const LOST_AFTER: Duration = Duration::from_secs(5);
/// How long clients may take beyond their time on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);
const PROGRESS: Duration = Duration::from_secs(60);
/// Resolvers ask for A and AAAA.
const QUERIES_PER_LOOKUP: u32 = 2;
/// Each real resolver asks this part of the queries.
const RESOLVERS_SHARE: u32 = 25;

const MEASURING: [Spec; 2] = [CART, VICTIM];
const RESOLVING: [(Spec, Resolver); 3] =
    [(FRONTEND, Resolver::Glibc), (API, Resolver::Go), (WORKER, Resolver::Musl)];

/// Run it; exit code 1 if anything was found, lost or not counted.
pub fn run(args: &Args, programs: &Programs) -> Result<ExitCode> {
    let place = if args.native { node::own_namespace()? } else { Place::WholeMachine };
    let resolving = RESOLVING.map(|(spec, _)| spec);
    // Behind links of their own, so that no two queries race on the bridge.
    let specs: Vec<Spec> = [COREDNS_0, COREDNS_1]
        .iter()
        .chain(&MEASURING)
        .chain(&resolving)
        .map(|spec| Spec { wiring: Wiring::PointToPoint, ..*spec })
        .collect();
    programs.warm_up()?;
    let node = Node::up(place, &specs)?;
    let (asked, observed, diagnosis) = play(args, &node, programs)?;
    drop(node);
    let cleanliness = Cleanliness::judge(asked, &observed, &diagnosis);
    for problem in &cleanliness.problems {
        println!("FAIL  {problem}");
    }
    if let Some(out) = &args.out {
        std::fs::write(out.join("clean.json"), serde_json::to_string_pretty(&cleanliness)?)?;
    }
    println!("{cleanliness}");
    let clean = cleanliness.problems.is_empty();
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

type Played = (Vec<Asked>, Observed, Diagnosis);

fn play(args: &Args, node: &Node, programs: &Programs) -> Result<Played> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(node)?;
    let output = args.out.as_ref().map(|out| out.join("clean.jsonl"));
    let kept = Keep { output, recording: None };
    let directories = node.directories();
    let mut watch = Watch::start(&programs.dnsprobe, Mode::Top, LOST_AFTER, directories, kept)?;
    let diagnosing = Diagnosing::start(node, programs, LOST_AFTER)?;
    let start = Instant::now();
    let clients = start_clients(args, node, programs)?;
    eprintln!("{} clients ask {} queries/s for {} s", clients.len(), args.rate, args.seconds);
    let end = start + Duration::from_secs(args.seconds);
    let mut next = start + PROGRESS;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        watch.listen(left.min(next.saturating_duration_since(Instant::now())), |line| {
            if line.contains(r#""kind":"verdict""#) {
                eprintln!("{:6.0} s  {line}", start.elapsed().as_secs_f64());
            }
        });
        if Instant::now() >= next {
            eprintln!("{:6.0} s  of {}", start.elapsed().as_secs_f64(), args.seconds);
            next += PROGRESS;
        }
    }
    let asked = clients
        .into_iter()
        .map(|(label, client)| {
            let report = client.report_within(PATIENCE + Duration::from_secs(args.seconds))?;
            Ok(Asked { label, asked: report.sent, answered: report.answered })
        })
        .collect::<Result<_>>()?;
    let observed = watch.finish()?;
    Ok((asked, observed, diagnosing.finish()?))
}

fn start_clients(args: &Args, node: &Node, programs: &Programs) -> Result<Vec<(String, Client)>> {
    let lookups = (args.rate / RESOLVERS_SHARE / QUERIES_PER_LOOKUP).max(1);
    let of_resolvers = lookups * QUERIES_PER_LOOKUP * RESOLVING.len() as u32;
    let pairs = f64::from(args.rate.saturating_sub(of_resolvers).max(2)) / 2.0;
    let mut clients = Vec::new();
    for spec in MEASURING {
        let args = steady::Args {
            server: DNS.into(),
            names: NAMES.join(","),
            rate: pairs / MEASURING.len() as f64,
            seconds: args.seconds,
            timeout_ms: 5000,
        };
        clients.push((spec.label(), programs.steady(node.pod(&spec)?, &args)?));
    }
    // A resolver's pause comes on top of its look-up, so it ends early rather
    // than late.
    let pause = Duration::from_secs(1) / lookups;
    let count = u32::try_from(args.seconds)?.saturating_mul(lookups) * 9 / 10;
    for ((spec, resolver), name) in RESOLVING.into_iter().zip(NAMES) {
        let lookup = Lookup { name, count: count.max(1), pace: Pace::Every(pause), options: None };
        let client = programs.resolve(node.pod(&spec)?, resolver, 1, lookup)?;
        clients.push((spec.label(), client));
    }
    Ok(clients)
}
