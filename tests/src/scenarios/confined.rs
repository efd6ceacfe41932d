//! dnsprobe as it is deployed: with the capabilities, mounts, seccomp profile and limit
//! of the DaemonSet in a real container, and as the unit's user. It attaches what root
//! attaches, names the pod, proves the cause, and keeps only what it says it keeps.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::stage::{LOST_AFTER, Stage};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::lab::cast::{COREDNS_0, DNS, VICTIM};
use crate::lab::containerd::Containerd;
use crate::lab::deployed;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::kernel::Kernel;
use crate::lab::process::{AMPLE, Process};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "confined",
    about: "in the DaemonSet's container and as the unit's user dnsprobe sees what root sees",
    kernels: Kernels::Since(Kernel(5, 11), "it was never tried where maps are locked memory"),
    exact_clock: false,
    run,
};

const ID: &str = "lab-confined";
const CAUSE: &str = "policy-drop";

/// Numbers of the capabilities that are kept (include/uapi/linux/capability.h):
/// DAC_READ_SEARCH, NET_ADMIN, SYS_PTRACE, BPF.
const KEPT: u64 = 1 << 2 | 1 << 12 | 1 << 19 | 1 << 39;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .service(DNS, &[COREDNS_0], Balance::Random)
        .rule("filter", format!("-A FORWARD -s {} -p udp --dport 53 -j DROP", VICTIM.address()))
        .load(stage.node)?;
    let (program, directories) = (&stage.programs.dnsprobe, stage.node.directories());
    let containerd = Containerd::start()?;
    let pod = || deployed::in_a_pod(&containerd, directories, stage.kernel, ID, program);

    let root = hooks(&mut Command::new(program), &[])?;
    ensure!(root.len() > 10, "root has only {root:?}");
    let unit = hooks(&mut deployed::as_the_unit(program)?, &[])?;
    let in_pod = hooks(&mut pod()?, &["--host-root=/host"])?;
    let mut attached = Vec::new();
    for (who, hooks) in [("the unit", unit), ("the pod", in_pod)] {
        let differing: Vec<_> = root.symmetric_difference(&hooks).collect();
        if !differing.is_empty() {
            attached.push(format!("{who} does not see what root sees: {differing:?}"));
        }
    }

    let mut serve = pod()?;
    serve.args(["serve", "--host-root=/host", "--listen=127.0.0.1:19356", "--interval=1s"]);
    serve.arg(format!("--lost-after={}ms", LOST_AFTER.as_millis()));
    let child = serve
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run ctr")?;
    let mut process = Process::new("dnsprobe serve in a container", child);
    process.wait_for("dnsprobe: serving on", AMPLE)?;
    let args = query::Args { timeout_ms: 100, ..query::Args::new(DNS, 4) };
    let lost = stage.programs.query(stage.pod(&VICTIM)?, &args)?.report()?.lost();
    sleep(LOST_AFTER + Duration::from_millis(1500));
    let pids = deployed::processes(directories, ID)?;
    let [pid] = pids[..] else { anyhow::bail!("not one process in the container: {pids:?}") };
    let rights = rights(&fs::read_to_string(format!("/proc/{pid}/status"))?);
    let memory = deployed::memory(directories, ID)?;
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM)?;
    let lines = process.finish(AMPLE)?;

    let told = lines.iter().filter(|line| is_loss_of_victim(line)).count() as u64;
    let told = (told != lost || lost == 0)
        .then(|| format!("{told} of {lost} losses were told of {}: {lines:?}", VICTIM.label()));
    let limit = deployed::memory_limit()?;
    // What is measured here is a quiet node; a large one needs more (docs/performance.md).
    let memory_problem =
        (memory > limit / 2).then(|| format!("{memory} bytes at rest, the limit is {limit}"));
    Ok(Outcome::default()
        .checked("the unit's user and the pod attach what root attaches", attached)
        .checked("the pod's losses have its name and their cause", told.into_iter().collect())
        .checked("what is kept of rights in the container", rights)
        .checked(
            &format!("{} KiB of {} KiB of memory", memory >> 10, limit >> 10),
            memory_problem.into_iter().collect(),
        ))
}

/// Every hook role with its mechanism, as `doctor` tells.
fn hooks(command: &mut Command, further: &[&str]) -> Result<BTreeSet<String>> {
    let output = command.args(["doctor", "-o", "json"]).args(further).output()?;
    let said: Value = serde_json::from_slice(&output.stdout).with_context(|| {
        format!("doctor ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim())
    })?;
    let roles = said["roles"].as_array().context("doctor names no roles")?;
    Ok(roles
        .iter()
        .map(|role| format!("{} {} {}", role["role"], role["state"], role["mechanism"]))
        .collect())
}

/// What is wrong with the lines of `/proc/PID/status`.
fn rights(status: &str) -> Vec<String> {
    let value = |key: &str| status.lines().find_map(|l| l.strip_prefix(key)).map(str::trim);
    let set = |key| value(key).and_then(|v| u64::from_str_radix(v, 16).ok());
    let mut problems = Vec::new();
    for key in ["CapPrm:", "CapEff:"] {
        if set(key) != Some(KEPT) {
            problems.push(format!("{key} {:?}, not {KEPT:#x}", value(key)));
        }
    }
    for (key, wanted) in [("NoNewPrivs:", "1"), ("Seccomp:", "2")] {
        if value(key) != Some(wanted) {
            problems.push(format!("{key} {:?}, not {wanted}", value(key)));
        }
    }
    problems
}

/// Whether a line tells of a lost query of the victim with its cause.
fn is_loss_of_victim(line: &str) -> bool {
    let Ok(verdict) = serde_json::from_str::<Value>(line) else { return false };
    verdict["cause"] == CAUSE
        && verdict["owner"]["namespace"] == VICTIM.namespace
        && verdict["owner"]["pod"] == VICTIM.name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_too_many_is_found() {
        let status = |caps: &str, seccomp: &str| {
            format!("CapPrm:\t{caps}\nCapEff:\t{caps}\nNoNewPrivs:\t1\nSeccomp:\t{seccomp}\n")
        };
        assert!(rights(&status("0000008000081004", "2")).is_empty());
        assert_eq!(rights(&status("000000c000281004", "2")).len(), 2);
        assert_eq!(rights(&status("0000008000081004", "0")).len(), 1);
        assert_eq!(rights("").len(), 4);
    }
}
