//! `dnsprobe record`: writes everything down, for later and for elsewhere.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Args;

use super::{
    EXIT_OK,
    traffic::Traffic,
    watch::{self, Detail, Handler},
};
use crate::{
    engine::{Transaction, Verdict},
    record::Limits,
    stats::Snapshot,
};

/// How often the counters are read.
pub(super) const READ_EVERY: Duration = Duration::from_secs(1);

/// Write everything that is seen into a file that `dnsprobe replay` runs any
/// view from, on any machine and without any privilege.
///
/// FILE is the newest part; when it is full it becomes FILE.1, and so on. A full
/// or slow disk never holds up watching: what could not be written is counted,
/// told, and in the file. Killed, it leaves a file that replays up to its last
/// second. An existing file is never overwritten. Names that were asked for and
/// addresses are in the file; only its owner may read it.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exit codes: 0 done; 2 could not run.

Examples:
  dnsprobe record -o node.rec --duration 10m
  dnsprobe record -o /var/tmp/node.rec --max-size 50MiB --max-files 20
  dnsprobe record -o node.rec --rotate-every 1h
  dnsprobe replay node.rec diagnose")]
pub(super) struct Options {
    /// The file; must not exist.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Stop after this time; without it, on Ctrl-C.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    duration: Option<Duration>,
    /// A part of this size is full.
    #[arg(long, value_parser = parse_bytes, default_value = "100MiB", value_name = "SIZE")]
    max_size: u64,
    /// Parts kept; the oldest is removed.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000), default_value_t = 10, value_name = "COUNT")]
    max_files: u32,
    /// A part ends after this time even when it is not full.
    #[arg(long, value_parser = super::positive_duration, value_name = "TIME")]
    rotate_every: Option<Duration>,
    #[command(flatten)]
    traffic: Traffic,
}

pub(super) fn run(options: &Options) -> anyhow::Result<u8> {
    let limits = Limits {
        part_bytes: options.max_size,
        parts: options.max_files,
        part_time: options.rotate_every,
    };
    let watch = options.traffic.recording(options.output.clone(), limits, options.duration);
    watch::run(&watch, Detail::Transactions, Some(READ_EVERY), &mut Nobody)?;
    Ok(EXIT_OK)
}

/// Everything is in the file.
pub(super) struct Nobody;

impl Handler for Nobody {
    fn transaction(&mut self, _: &Transaction) -> anyhow::Result<()> {
        Ok(())
    }

    fn verdict(&mut self, _: &Verdict) -> anyhow::Result<()> {
        Ok(())
    }

    /// What is asked in the last seconds is decided too.
    fn settles(&self) -> bool {
        true
    }

    fn snapshot(&mut self, _: &Arc<Snapshot>, _: bool) -> anyhow::Result<()> {
        Ok(())
    }
}

/// A number of bytes with an optional unit: `500000`, `10MB`, `100MiB`, `2G`.
pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 10] = [
        ("", 1),
        ("k", 1 << 10),
        ("kib", 1 << 10),
        ("kb", 1_000),
        ("m", 1 << 20),
        ("mib", 1 << 20),
        ("mb", 1_000_000),
        ("g", 1 << 30),
        ("gib", 1 << 30),
        ("gb", 1_000_000_000),
    ];
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(n, f)| n.checked_mul(f));
    match bytes {
        Some(bytes) if bytes >= 1 << 16 => Ok(bytes),
        Some(_) => Err("must be at least 64KiB".to_owned()),
        None => Err("use a number of bytes, or one with a unit such as 100MiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_bytes("100MiB"), Ok(104_857_600));
        assert_eq!(parse_bytes("2g"), Ok(2 << 30));
        assert_eq!(parse_bytes("1 MB"), Ok(1_000_000));
        assert_eq!(parse_bytes("65536"), Ok(65_536));
        for wrong in ["", "MiB", "1TB", "-5", "64", "99999999999G"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
