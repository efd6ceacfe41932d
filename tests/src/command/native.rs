//! `lab native`: dnsprobe on the machine's own kernel, which may allow
//! tracepoints only. Node and pods live in namespaces of their own; the
//! machine's network and firewall are left alone, and nothing stays behind.

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::client::query;
use crate::client::resolver::Resolver;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, DNS, VICTIM, WORKER};
use crate::lab::clients::{Lookup, Pace};
use crate::lab::dnsprobe::{Mode, Watch};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::recording::Keep;
use crate::lab::spec::{Spec, Wiring};
use crate::lab::{Node, Programs, node, server};
use crate::observed::Observed;

const LOST_AFTER: Duration = Duration::from_secs(1);

/// Run the native test; exit code 1 if anything is wrong.
pub fn run(programs: &Programs) -> Result<ExitCode> {
    outlive_interrupts()?;
    let specs =
        [COREDNS_0, CART, WORKER, VICTIM].map(|spec| Spec { wiring: Wiring::PointToPoint, ..spec });
    let node = Node::up(node::own_namespace()?, &specs)?;
    let problems = play(&node, programs).unwrap_or_else(|error| vec![format!("{error:#}")]);
    drop(node);
    let Some((first, others)) = problems.split_first() else {
        println!("ok    native\n1 passed, 0 failed, 0 skipped");
        return Ok(ExitCode::SUCCESS);
    };
    println!("FAIL  native: {first}");
    for problem in others {
        println!("      {problem}");
    }
    println!("0 passed, 1 failed, 0 skipped");
    Ok(ExitCode::FAILURE)
}

/// An interrupt from the terminal ends the children and with them the test;
/// this process must live on to clean up.
fn outlive_interrupts() -> Result<()> {
    extern "C" fn nothing(_signal: std::ffi::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing, which is async-signal-safe.
    unsafe { sigaction(Signal::SIGINT, &action) }?;
    Ok(())
}

fn play(node: &Node, programs: &Programs) -> Result<Vec<String>> {
    Rules::default()
        .service(DNS, &[COREDNS_0], Balance::Random)
        .rule("filter", format!("-A FORWARD -s {} -p udp --dport 53 -j DROP", VICTIM.address()))
        .load(node)?;
    let watch = Watch::start(
        &programs.dnsprobe,
        Mode::Top,
        LOST_AFTER,
        node.directories(),
        Keep::default(),
    )?;
    let queries = |count| query::Args { interval_ms: 5, ..query::Args::new(DNS, count) };
    let healthy = programs.query(node.pod(&CART)?, &queries(100))?;
    let lookup = Lookup {
        name: server::NAME,
        count: 20,
        pace: Pace::Every(Duration::from_millis(10)),
        options: None,
    };
    let resolver = programs.resolve(node.pod(&WORKER)?, Resolver::Glibc, 1, lookup)?;
    let dropped = query::Args { timeout_ms: 50, ..queries(5) };
    let dropped = programs.query(node.pod(&VICTIM)?, &dropped)?.report()?;
    let healthy = healthy.report()?;

    let mut expectation = Expectation::default();
    expectation.healthy(&CART.label(), &healthy)?;
    expectation.healthy(&WORKER.label(), &resolver.report()?)?;
    expectation.loses(&VICTIM.label(), &dropped, "policy-drop")?;
    let observed = watch.finish()?;
    let mut problems = expectation.problems(&observed);
    problems.extend(latency_problem(&observed, &healthy));
    problems.extend(completeness_problem(&observed)?);
    Ok(problems)
}

/// A local answer takes microseconds, of which the client's own system calls
/// are a good part: what dnsprobe measured must lie inside.
fn latency_problem(observed: &Observed, report: &crate::client::Report) -> Option<String> {
    let row = observed.last.pods.iter().find(|row| row.owner.label == CART.label())?;
    let seen = row.total.latency_seconds?.p50;
    let own = report.rtt?.p50;
    (seen <= 0.0 || seen > own)
        .then(|| format!("p50 is {:.1} us, the client measured {:.1} us", seen * 1e6, own * 1e6))
}

/// Where the kernel refuses probes on conntrack, dnsprobe must say that it
/// cannot see clashes.
fn completeness_problem(observed: &Observed) -> Result<Option<String>> {
    let completeness = &observed.last.completeness;
    let names_conntrack =
        completeness.missing.iter().any(|missing| missing.role.contains("conntrack"));
    let probes = fs::exists("/sys/bus/event_source/devices/kprobe")?;
    let problem = match (probes, completeness.complete, names_conntrack) {
        (false, false, true) | (true, _, _) => None,
        _ => Some(format!(
            "no probes on conntrack on this kernel, but complete is {} and missing {:?}",
            completeness.complete, completeness.missing
        )),
    };
    Ok(problem)
}
