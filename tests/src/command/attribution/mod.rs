//! `lab attribution`: does every query and every loss have the right owner?
//! Clients in cgroups and namespaces as a node has them ask for names that say
//! who they are; what dnsprobe tells of each query is compared with that.

mod bench;
mod checks;
mod elsewhere;
mod report;
mod truth;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use self::bench::{Bench, queries};
use self::checks::Steady;
use self::report::{Bar, Check, Report};
use crate::lab::cast;
use crate::lab::dnsprobe::{Mode, Watch};
use crate::lab::node::Place;
use crate::lab::recording::Keep;
use crate::lab::shell::Namespace;
use crate::lab::spec::{Spec, Wiring};
use crate::lab::{Node, Programs};

/// How much.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pods that live for 200 ms.
    #[arg(long, default_value_t = 1000)]
    short_lived: u32,
    /// How many of these are made each second.
    #[arg(long, default_value_t = 50)]
    per_second: u32,
    /// Pods at once.
    #[arg(long, default_value_t = 500)]
    pods: u32,
    /// Directory for dnsprobe's output and the result, `attribution.json`.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// After this time without an answer a query is lost.
const LOST_AFTER: Duration = Duration::from_millis(1500);
/// Where a guest has its hierarchy.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Pods cannot be made faster than that, and may be made this much slower.
const OF_THE_RATE: f64 = 0.98;
/// Memory of its own that dnsprobe may have, and what a flood may add to it.
const RESIDENT_KIB: i64 = 30 * 1024;
const GROWN_KIB: i64 = 4 * 1024;

/// Run every check; exit code 1 when a bar is missed.
pub fn run(args: &Args, programs: &Programs) -> Result<ExitCode> {
    allow_many_files()?;
    enter_groups_at_once();
    programs.warm_up()?;
    warm_up_tools();
    let specs: Vec<Spec> =
        cast::ALL.iter().map(|spec| Spec { wiring: Wiring::PointToPoint, ..*spec }).collect();
    let node = Node::up(Place::WholeMachine, &specs)?;
    let report = play(args, &node, programs)?;
    drop(node);
    if let Some(out) = &args.out {
        fs::create_dir_all(out)?;
        fs::write(out.join("attribution.json"), serde_json::to_string_pretty(&report)? + "\n")?;
    }
    print!("{report}");
    Ok(if report.right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every client has three pipes.
fn allow_many_files() -> Result<()> {
    const FILES: libc::rlim_t = 16_384;
    let limit = libc::rlimit { rlim_cur: FILES, rlim_max: FILES };
    // SAFETY: `limit` is of the type that the call reads, and outlives it.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(std::io::Error::last_os_error()).context("cannot have many files open");
    }
    Ok(())
}

/// A runtime starts a container in its group. The lab's clients move there after
/// their start, which by default waits for a grace period of RCU, one client after
/// the other, so that only about 20 a second can start. Kernels from 6.0 on can do
/// without (`cgroup_favor_dynmods`); on others the rate stays too low, and the check
/// says so.
fn enter_groups_at_once() {
    let none = None::<&str>;
    let option = Some("favordynmods");
    if let Err(error) = mount(none, CGROUPS, none, MsFlags::MS_REMOUNT, option) {
        eprintln!("{CGROUPS} cannot be mounted with favordynmods: {error}");
    }
}

/// See [`Programs::warm_up`].
fn warm_up_tools() {
    for tool in ["unshare", "nsenter", "mount", "mkdir", "sh", "sleep"] {
        // One that is missing is told by the check that needs it.
        let _ = Command::new(tool).arg("--version").output();
    }
}

fn play(args: &Args, node: &Node, programs: &Programs) -> Result<Report> {
    let mut bench = Bench::new(node, programs);
    let kept = |name: &str| Keep {
        output: args.out.as_ref().map(|out| out.join(format!("{name}.jsonl"))),
        ..Keep::default()
    };
    if let Some(out) = &args.out {
        fs::create_dir_all(out)?;
    }
    let watch =
        |keep| Watch::start(&programs.dnsprobe, Mode::Trace, LOST_AFTER, node.directories(), keep);
    let first = watch(kept("first"))?;
    let steady = Steady::create(&mut bench)?;
    steady.ask(&mut bench, "steady", &queries(100, Duration::from_millis(10)))?;
    eprintln!("steady pods have asked");

    let late = watch(Keep::default())?;
    let pod = bench.pod_in("monitoring", "dnsprobe-h6x2p", Namespace::Own)?;
    let container = pod.container("dnsprobe", 0)?;
    let arguments = Watch::arguments(Mode::Trace, LOST_AFTER);
    let inside = container.spawn(elsewhere::command(&programs.dnsprobe, &arguments))?;
    let inside = Watch::of(inside, &programs.dnsprobe, Mode::Trace, LOST_AFTER, kept("elsewhere"))?;
    steady.ask(&mut bench, "started-after", &queries(50, Duration::from_millis(10)))?;
    let (late, inside) = (late.finish()?, inside.finish_inside()?);
    eprintln!("watched by one that came later, and from inside a pod");

    checks::real_runtime(&mut bench)?;
    eprintln!("containers of containerd have asked");
    checks::softirq_drops(&mut bench, &steady)?;
    checks::host_network(&mut bench)?;
    checks::shared_processes(&mut bench)?;
    checks::proxying_sidecar(&mut bench)?;
    checks::deleted_in_flight(&mut bench)?;
    checks::reused_address(&mut bench)?;
    checks::restarted_container(&mut bench)?;
    eprintln!("hard cases have asked");
    let flood = checks::flood(&mut bench, &steady, first.pid())?;
    eprintln!("flood of groups is over");
    let rate = checks::short_lived(&mut bench, args.short_lived, args.per_second)?;
    eprintln!("short-lived pods have asked");
    checks::many(&mut bench, args.pods)?;
    eprintln!("many pods have asked");
    let first = first.finish()?;

    let truth = &bench.truth;
    let check = |name, about: &str, bar| Check::new(truth, name, name, about, bar, &first);
    let all = Bar::AllRight;
    let mut checks = vec![
        check("steady", "pods that stay, two containers each, both cgroup drivers", all),
        check("started-after", "the same pods, dnsprobe started before them", all),
        Check::new(
            truth,
            "started-after",
            "started-after-late",
            "the same pods, dnsprobe started after them",
            all,
            &late,
        ),
        Check::new(
            truth,
            "started-after",
            "dnsprobe-in-a-pod",
            "the same, dnsprobe in a pod with the host's /proc, /sys/fs/cgroup, /var/log and /run read-only elsewhere",
            all,
            &inside,
        ),
        check("containerd", "pods that containerd and runc made, through CRI", all),
        check(
            "softirq-drops",
            "queries and answers dropped by a rule in softirq: the loss is the sender's",
            all,
        ),
        check("host-network", "pods, a unit and a Docker container on the host's network", all),
        check("shared-process-namespace", "two containers of a pod in one process namespace", all),
        check(
            "proxying-sidecar",
            "a sidecar passes queries on: both hops have their container",
            all,
        ),
        check(
            "deleted-in-flight",
            "everything of the pod is gone before its queries are lost",
            all,
        ),
        check(
            "reused-address",
            "the next pod has address and network namespace of the one before",
            all,
        ),
        check("restarted-container", "a container ends and comes back under another id", all),
    ];
    let mut flooded = check(
        "cgroup-flood",
        "steady pods while 1,000 groups are made and removed each second, 10 s",
        all,
    );
    flooded.note = format!(
        "{:.0} groups/s; dnsprobe's own memory grew by {} KiB to {} KiB",
        flood.per_second, flood.grown_kib, flood.resident_kib
    );
    flooded.passed &= flood.grown_kib <= GROWN_KIB && flood.resident_kib <= RESIDENT_KIB;
    checks.push(flooded);
    let mut short = check(
        "short-lived",
        "pods that live for 200 ms and leave nothing behind",
        Bar::NearlyAllRight,
    );
    short.note =
        format!("{} pods, {rate:.1} new each second (bar: {})", args.short_lived, args.per_second);
    short.passed &= rate >= f64::from(args.per_second) * OF_THE_RATE;
    checks.push(short);
    let mut many = check("500-pods", "many pods at once", all);
    many.note = format!("{} pods", args.pods);
    checks.push(many);
    let kernel =
        fs::read_to_string("/proc/sys/kernel/osrelease").context("which kernel is this?")?;
    Ok(Report::new(kernel.trim(), &first.last.completeness, checks))
}
