//! `cargo xtask long-recording`: a recording as large as one likes, made of a small
//! real one, and what replaying it costs.

mod file;
mod shift;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ciborium::Value;

use self::file::{Compressor, Entry, kind};
use self::shift::Shift;
use crate::build;
use crate::workspace::Workspace;

/// Time between the end of one copy and the beginning of the next: longer than a
/// query may wait, so that no copy has to do with another.
const PAUSE_NS: u64 = 30_000_000_000;
/// How often the memory of a replay is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The views that are measured.
const VIEWS: [&[&str]; 3] =
    [&["diagnose"], &["report", "-o", "json"], &["top", "--interval", "1h", "--plain"]];

/// Make a large recording out of a small one, and measure what replaying it costs
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Make a large recording out of a small one, and measure what replaying it costs.

The observations and readings of FROM are repeated, each time so much later that \
they have nothing to do with the ones before, until the file has its size; each copy \
is compressed by itself, as it was recorded. Then `dnsprobe replay` runs `diagnose`, \
`report` and `top` from it, and the time and the most memory that each took are \
printed.")]
#[command(after_help = "\
Examples:
  cargo xtask long-recording
  cargo xtask long-recording --from node.rec --size-mib 100 --output long.rec")]
pub(crate) struct Args {
    /// The recording to repeat
    #[arg(long, value_name = "FILE", default_value = "tests/recordings/three-causes.rec")]
    from: PathBuf,

    /// The file to make, replaced if it is there
    #[arg(long, value_name = "FILE", default_value = "target/long.rec")]
    output: PathBuf,

    /// How large
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    size_mib: u64,

    /// Run what was built before
    #[arg(long)]
    no_build: bool,
}

pub(crate) fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    if !args.no_build {
        build::all(workspace, &build::Args::default())?;
    }
    let (from, output) = (workspace.root().join(&args.from), workspace.root().join(&args.output));
    let started = Instant::now();
    let copies = multiply(&from, &output, args.size_mib << 20)?;
    let size = output.metadata()?.len();
    println!(
        "{}: {size} bytes, {copies} times {}, made in {:.1} s",
        args.output.display(),
        args.from.display(),
        started.elapsed().as_secs_f64()
    );
    for view in VIEWS {
        let mut replay = Command::new(workspace.release_binary("dnsprobe"));
        replay.arg("replay").arg(&output).args(view);
        let (elapsed, most_kib) = measure(&mut replay)?;
        println!(
            "replay {}: {:.1} s, at most {:.1} MiB resident",
            view[0],
            elapsed.as_secs_f64(),
            most_kib as f64 / 1024.0
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the recording, and says how often it is in there.
fn multiply(from: &Path, output: &Path, size: u64) -> Result<u64> {
    let blocks = file::read(from)?;
    let entries = || blocks.iter().flatten();
    let moments: Vec<u64> = entries().filter_map(Entry::now_ns).collect();
    let (first, last) = moments.first().zip(moments.last()).context("it tells no time")?;
    let period_ns = last - first + PAUSE_NS;
    let file = File::create(output).with_context(|| format!("create {}", output.display()))?;
    let mut out = BufWriter::new(file);
    let mut compressor = Compressor::new()?;
    let mut written = file::begin(&mut out)?;
    // The header and what the node's files said come once.
    let is_once = |entry: &&Entry| [kind::HEADER, kind::NODE_FILE].contains(&entry.kind);
    let once: Vec<Entry> = entries().filter(is_once).cloned().collect();
    written += compressor.write(&once, &mut out)?;
    let mut copies = 0;
    while written < size {
        let shift = Shift { ns: copies * period_ns, first: copies == 0 };
        for block in &blocks {
            let repeated = block.iter().filter(|entry| kind::REPEATED.contains(&entry.kind));
            let shifted: Vec<Entry> = repeated.map(|entry| shift.entry(entry)).collect();
            if !shifted.is_empty() {
                written += compressor.write(&shifted, &mut out)?;
            }
        }
        copies += 1;
    }
    compressor.write(&[Entry { kind: kind::END, body: Value::Null }], &mut out)?;
    out.flush()?;
    Ok(copies)
}

/// How long it took, and the most memory it had resident, KiB.
fn measure(command: &mut Command) -> Result<(Duration, u64)> {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut most_kib = 0;
    let ended = loop {
        // The kernel keeps the maximum; it is gone when the process is.
        if let Ok(text) = std::fs::read_to_string(&status) {
            most_kib = most_kib.max(peak_kib(&text).unwrap_or(0));
        }
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    ensure!(matches!(ended.code(), Some(0 | 1)), "{command:?}: {ended}");
    Ok((started.elapsed(), most_kib))
}

/// `VmHWM` of `/proc/PID/status`.
fn peak_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_of_the_lab_is_repeated_with_its_times_moved() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let from = format!("{root}/tests/recordings/no-listener.rec");
        let output = std::env::temp_dir().join(format!("dnsprobe-long-{}.rec", std::process::id()));
        let copies = multiply(Path::new(&from), &output, 200 << 10).unwrap();
        let (once, all) = (file::read(Path::new(&from)).unwrap(), file::read(&output).unwrap());
        std::fs::remove_file(&output).unwrap();
        assert!(copies > 10, "{copies}");
        let count = |blocks: &[Vec<Entry>], kind: u8| {
            blocks.iter().flatten().filter(|entry| entry.kind == kind).count() as u64
        };
        assert_eq!(count(&all, kind::OBSERVATION), copies * count(&once, kind::OBSERVATION));
        assert_eq!(count(&all, kind::READING), copies * count(&once, kind::READING));
        assert_eq!((count(&all, kind::HEADER), count(&all, kind::END)), (1, 1));
        let moments: Vec<u64> = all.iter().flatten().filter_map(Entry::now_ns).collect();
        assert!(moments.is_sorted());
    }

    #[test]
    fn the_peak_is_read_from_what_the_kernel_says() {
        let status = "Name:\tx\nVmPeak:\t  99 kB\nVmHWM:\t    1234 kB\n";
        assert_eq!(peak_kib(status), Some(1234));
        assert_eq!(peak_kib("Name:\tx\n"), None);
    }
}
