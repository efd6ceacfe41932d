//! dnsprobe's own process: what it does while nothing happens and while 10,000
//! queries a second do, with many pods to tell of.

mod process;

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use self::process::Usage;
use super::line::{Line, Lines, UserSpace};
use super::machine::Machine;
use super::nanoseconds;
use super::row::Netfilter;
use super::traffic::{self, DNS_PORT};
use super::watcher::{Kind, Watcher};
use crate::lab::Programs;
use crate::lab::crowd::Crowd;

const POD_COUNTS: [u32; 2] = [250, 1000];
const RATE: u32 = 10_000;
/// Whole seconds: the work of one is one reading and four sweeps.
const SECONDS: u32 = 4;

/// Writes a line per number of pods.
pub(super) fn measure(machine: &Machine, programs: &Programs, lines: &mut Lines) -> Result<()> {
    let _netfilter = machine.netfilter(Netfilter::Conntrack)?;
    let watcher = Watcher::start(Kind::Dnsprobe, programs)?;
    let process = watcher.process().context("dnsprobe is not there")?;
    let mut pods = Crowd::new(Path::new("/sys/fs/cgroup"), Path::new("/var/log/pods"))?;
    for count in POD_COUNTS {
        pods.grow(count)?;
        pods.ask()?;
        let mut traffic = traffic::ping_pong(DNS_PORT)?;
        // Names are looked up once.
        sleep(Duration::from_secs(2));

        let before = Usage::of(process, &watcher)?;
        let start = Instant::now();
        sleep(Duration::from_secs(SECONDS.into()));
        let idle = Usage::of(process, &watcher)?.since(&before, start.elapsed());

        let before = Usage::of(process, &watcher)?;
        let start = Instant::now();
        for query in 1..=RATE * SECONDS {
            traffic.once()?;
            let due = start + Duration::from_secs(1) * query / RATE;
            while Instant::now() < due {
                std::hint::spin_loop();
            }
        }
        let loaded = Usage::of(process, &watcher)?.since(&before, start.elapsed());
        drop(traffic);
        let allocations = process::allocations(process, SECONDS)?;
        println!(
            "          {count} pods: {:.1} and {:.1} wake-ups/s, {:.2?} and {:.2?} of work per second",
            idle.wake_ups, loaded.wake_ups, idle.processor_time, loaded.processor_time
        );
        lines.write(&Line::UserSpace(UserSpace {
            pods: count,
            queries_per_second: RATE,
            idle_wake_ups_per_second: idle.wake_ups,
            wake_ups_per_second: loaded.wake_ups,
            idle_ns_per_second: nanoseconds(idle.processor_time),
            ns_per_second: nanoseconds(loaded.processor_time),
            resident_bytes: process::resident_bytes(process)?,
            allocations_per_second: allocations,
        }))?;
    }
    watcher.stop(true).map(drop)
}
