//! What each of dnsprobe's kernel programs is and costs, while DNS and other
//! traffic runs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::kernel_programs;
use super::line::{Line, Lines, Program};
use super::machine::Machine;
use super::row::Netfilter;
use super::traffic::{self, DNS_PORT, OTHER_PORT};
use super::watcher::{Kind, Watcher};
use crate::lab::Programs;
use crate::lab::shell::Namespace;

/// Of each kind of traffic.
const TRANSACTIONS: u32 = 2000;

/// Writes a line per program, and its machine code beside them.
pub(super) fn measure(
    machine: &Machine,
    programs: &Programs,
    directory: &Path,
    lines: &mut Lines,
) -> Result<()> {
    let _netfilter = machine.netfilter(Netfilter::Conntrack)?;
    let watcher = Watcher::start(Kind::Dnsprobe, programs)?;
    let process = watcher.process().context("dnsprobe is not there")?;
    let _counting = Namespace::Own.sysctl_until_dropped("kernel/bpf_stats_enabled=1")?;
    for port in [DNS_PORT, OTHER_PORT] {
        let mut traffic = traffic::ping_pong(port)?;
        for _ in 0..TRANSACTIONS {
            traffic.once()?;
        }
    }
    let loaded = kernel_programs::of(process)?;
    for program in &loaded {
        let info = &program.info;
        let file = format!("{}-{}.jit", info.name(), info.id());
        fs::write(directory.join(&file), &program.code)?;
        lines.write(&Line::Program(Program {
            name: info.name(),
            transactions: TRANSACTIONS,
            runs: info.run_count,
            run_time_ns: info.run_time_ns,
            xlated_bytes: info.xlated_bytes(),
            verified_instructions: Some(info.verified_instructions).filter(|count| *count > 0),
            code: file,
        }))?;
    }
    println!("          {} programs", loaded.len());
    watcher.stop(true).map(drop)
}
