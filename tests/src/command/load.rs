//! `lab load`: dnsperf asks a real server faster and faster, without and with
//! dnsprobe, until the machine cannot keep up. Times are real here, so they are
//! only as good as the machine is quiet.

mod dnsperf;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use nix::time::ClockId;
use nix::unistd::Pid;
use serde::Serialize;

use self::dnsperf::Asked;
use crate::lab::cast::{CART, COREDNS_0};
use crate::lab::crowd::Crowd;
use crate::lab::node::{self, Place};
use crate::lab::process::{AMPLE, Process};
use crate::lab::spec::{Spec, Wiring};
use crate::lab::{Node, Programs};
use crate::observed::Observed;

/// How long, where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// On the machine's own kernel, in namespaces, instead of in a guest.
    #[arg(long)]
    native: bool,
    /// Pods beside the two that are busy, may be repeated: the ladder is climbed
    /// with each number.
    #[arg(long, value_name = "N", default_values_t = [250, 1000])]
    pods: Vec<u32>,
    /// Seconds of traffic per rung.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// File for one JSON object per rung.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Queries per second.
const RUNGS: [u32; 8] = [1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000];
/// Below this part of what was asked for, a rung is too high.
const SUSTAINED: f64 = 0.95;
const LOST_AFTER: Duration = Duration::from_secs(1);

/// A rung, with and without.
#[derive(Debug, Serialize)]
struct Rung {
    pods: u32,
    queries_per_second: u32,
    without: Asked,
    with: Asked,
    dnsprobe: Seen,
}

/// What dnsprobe saw of a rung and used for it.
#[derive(Debug, Serialize)]
struct Seen {
    queries: u64,
    answered: u64,
    lost: u64,
    p99_seconds: Option<f64>,
    processor_seconds: f64,
    resident_bytes: u64,
    lost_events: u64,
    not_kept: u64,
}

/// Climb until it is too high.
pub fn run(args: &Args, programs: &Programs) -> Result<ExitCode> {
    let mut out =
        File::create(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    let place = if args.native { node::own_namespace()? } else { Place::WholeMachine };
    let specs = [COREDNS_0, CART].map(|spec| Spec { wiring: Wiring::PointToPoint, ..spec });
    let node = Node::up(place, &specs)?;
    println!(
        "{:>5} {:>9}  {:>9} {:>8} {:>9}   {:>9} {:>8} {:>9} {:>9} {:>9} {:>7} {:>8} {:>6}",
        "PODS",
        "OFFERED/S",
        "WITHOUT/S",
        "LOST",
        "MEAN us",
        "WITH/S",
        "LOST",
        "MEAN us",
        "P99 us",
        "COUNTED",
        "CPU %",
        "MIB",
        "MISSED"
    );
    let mut crowd = Crowd::new(&node.directories().cgroups, &node.directories().logs)?;
    for &pods in &args.pods {
        crowd.grow(pods)?;
        for rate in RUNGS {
            let rung = climb(&node, programs, &mut crowd, pods, rate, args.seconds)?;
            rung.print(args.seconds);
            writeln!(out, "{}", serde_json::to_string(&rung)?)?;
            let least = f64::from(rate) * SUSTAINED;
            if rung.without.per_second < least || rung.with.per_second < least {
                break;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Rung {
    fn print(&self, seconds: u64) {
        let us = |seconds: f64| seconds * 1e6;
        let Self { pods, queries_per_second, without, with, dnsprobe: seen } = self;
        println!(
            "{pods:>5} {queries_per_second:>9}  {:>9.0} {:>8} {:>9.0}   {:>9.0} {:>8} {:>9.0} {:>9} \
             {:>9} {:>7.1} {:>8.1} {:>6}",
            without.per_second,
            without.lost,
            us(without.mean_seconds),
            with.per_second,
            with.lost,
            us(with.mean_seconds),
            seen.p99_seconds.map_or_else(|| "-".to_owned(), |p99| format!("{:.0}", us(p99))),
            if seen.queries == with.sent { "all".to_owned() } else { seen.queries.to_string() },
            seen.processor_seconds / seconds as f64 * 100.0,
            seen.resident_bytes as f64 / f64::from(1 << 20),
            seen.lost_events + seen.not_kept,
        );
    }
}

fn climb(
    node: &Node,
    programs: &Programs,
    crowd: &mut Crowd,
    pods: u32,
    rate: u32,
    seconds: u64,
) -> Result<Rung> {
    let without = dnsperf::ask(node, rate, seconds)?;
    let kept = node.directories().run.join("load.jsonl");
    let process = start(node, programs, &kept)?;
    crowd.ask()?;
    let before = processor_seconds(process.pid())?;
    let with = dnsperf::ask(node, rate, seconds)?;
    let used = processor_seconds(process.pid())? - before;
    let resident_bytes = resident_bytes(process.pid())?;
    // Whatever is unanswered is decided, and counted in the last snapshot.
    sleep(LOST_AFTER + Duration::from_millis(1500));
    process.signal(Signal::SIGINT)?;
    process.finish(AMPLE)?;
    let text = fs::read_to_string(&kept)?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let last = Observed::parse(&lines)?.last;
    let row = last
        .pods
        .iter()
        .find(|row| row.owner.label == CART.label() && row.role == "client")
        .context("dnsprobe saw none of the client's queries")?;
    Ok(Rung {
        pods,
        queries_per_second: rate,
        without,
        with,
        dnsprobe: Seen {
            queries: row.total.queries,
            answered: row.total.answered,
            lost: row.total.lost_total,
            p99_seconds: row.total.latency_seconds.map(|latency| latency.p99),
            processor_seconds: used,
            resident_bytes,
            lost_events: last.completeness.lost_events,
            not_kept: last.completeness.in_flight_full + last.completeness.stats_full,
        },
    })
}

/// As a monitoring daemon would run; what it prints goes to a file.
fn start(node: &Node, programs: &Programs, kept: &Path) -> Result<Process> {
    let child = Command::new(&programs.dnsprobe)
        .args(["top", "--without-names", "-o", "json", "--interval", "1s", "--lost-after", "1s"])
        .arg("--log-dir")
        .arg(&node.directories().logs)
        .arg("--cgroup-root")
        .arg(&node.directories().cgroups)
        .stdin(Stdio::null())
        .stdout(File::create(kept)?)
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start dnsprobe")?;
    let mut process = Process::new("dnsprobe", child);
    process.wait_for("dnsprobe: watching", AMPLE)?;
    Ok(process)
}

fn processor_seconds(process: Pid) -> Result<f64> {
    let time = ClockId::pid_cpu_clock_id(process)?.now()?;
    Ok(Duration::from(time).as_secs_f64())
}

fn resident_bytes(process: Pid) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let kibibytes = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok()
    });
    Ok(kibibytes.context("no resident size")? * 1024)
}
