//! What a process used, by the kernel's own accounts.

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::super::watcher::Watcher;
use crate::lab::process::{AMPLE, Process};

/// Since the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    voluntary_switches: u64,
    processor_time: Duration,
}

/// Per second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    /// How often it went to sleep, and so how often something woke it.
    pub(super) wake_ups: f64,
    pub(super) processor_time: Duration,
}

impl Usage {
    pub(super) fn of(process: Pid, watcher: &Watcher) -> Result<Self> {
        let mut voluntary_switches = 0;
        for task in fs::read_dir(format!("/proc/{process}/task"))? {
            let status = fs::read_to_string(task?.path().join("status"))?;
            voluntary_switches += field(&status, "voluntary_ctxt_switches:")
                .context("no count of context switches")?;
        }
        Ok(Self { voluntary_switches, processor_time: watcher.processor_time()? })
    }

    pub(super) fn since(&self, before: &Self, elapsed: Duration) -> Rates {
        let switches = self.voluntary_switches - before.voluntary_switches;
        let worked = self.processor_time.saturating_sub(before.processor_time);
        Rates {
            wake_ups: switches as f64 / elapsed.as_secs_f64(),
            processor_time: worked.div_f64(elapsed.as_secs_f64()),
        }
    }
}

/// Memory that it has for itself or shares, in this moment.
pub(super) fn resident_bytes(process: Pid) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    Ok(field(&status, "VmRSS:").context("no resident size")? * 1024)
}

/// Calls of the C library's allocator per second, counted by bpftrace for so
/// many seconds.
pub(super) fn allocations(process: Pid, seconds: u32) -> Result<f64> {
    const LIBRARY: &str = "/lib/x86_64-linux-gnu/libc.so.6";
    let probes = ["malloc", "calloc", "realloc"].map(|name| format!("uprobe:{LIBRARY}:{name}"));
    let script = format!("{} /pid == {process}/ {{ @calls = count(); }}", probes.join(","));
    let child = Command::new("sh")
        .args(["-c", r#"exec bpftrace -B line -e "$0" 1>&2"#, &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut bpftrace = Process::new("bpftrace", child);
    bpftrace.wait_for("Attaching 3 probes", AMPLE)?;
    // What it counts before all are attached is too little, never too much.
    sleep(Duration::from_secs(u64::from(seconds) + 1));
    bpftrace.signal(Signal::SIGINT)?;
    let said = bpftrace.finish_with_errors(AMPLE)?;
    let calls = said
        .iter()
        .find_map(|line| line.strip_prefix("@calls:")?.trim().parse::<u64>().ok())
        .unwrap_or(0);
    Ok(calls as f64 / f64::from(seconds + 1))
}

/// A number of `/proc/PID/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_whole_name() {
        let status =
            "VmRSS:\t 5120 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n";
        assert_eq!(field(status, "voluntary_ctxt_switches:"), Some(7));
        assert_eq!(field(status, "VmRSS:"), Some(5120));
        assert_eq!(field(status, "VmX:"), None);
    }
}
