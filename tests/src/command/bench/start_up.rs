//! How long dnsprobe takes to attach everything, and to be gone again.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::line::{Line, Lines, Start};
use super::watcher::{Kind, Watcher};
use super::{kernel_programs, nanoseconds};
use crate::lab::Programs;

/// Starts that are measured; one before them reads its files.
const TIMES: usize = 5;
/// How long the kernel may take to free programs nobody holds any more.
const FREED_WITHIN: Duration = Duration::from_secs(10);

/// Starts and ends it a few times.
pub(super) fn measure(programs: &Programs, lines: &mut Lines) -> Result<()> {
    for time in 0..=TIMES {
        let before = Instant::now();
        let watcher = Watcher::start(Kind::Dnsprobe, programs)?;
        let attached = before.elapsed();
        let process = watcher.process().context("dnsprobe is not there")?;
        let loaded = kernel_programs::of(process)?;
        let before = Instant::now();
        watcher.stop(true)?;
        let ended = before.elapsed();
        let deadline = before + FREED_WITHIN;
        while loaded.iter().any(|program| kernel_programs::exists(program.info.id())) {
            ensure!(Instant::now() < deadline, "programs are left in the kernel after its end");
            sleep(Duration::from_millis(1));
        }
        let freed = before.elapsed();
        if time > 0 {
            println!("          attached after {attached:?}, ended after {ended:?}");
            lines.write(&Line::Start(Start {
                programs: loaded.len(),
                attached_ns: nanoseconds(attached),
                ended_ns: nanoseconds(ended),
                freed_ns: nanoseconds(freed),
            }))?;
        }
    }
    Ok(())
}
