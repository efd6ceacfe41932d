//! `dnsprobe capture`: packets of DNS transactions, for Wireshark.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::bail;
use clap::{ArgGroup, Args};
use dnsprobe_common::flow::Role;

use super::{
    EXIT_OK, WatchOptions,
    record::parse_bytes,
    selection::Selection,
    watch::{self, Detail, Handler},
};
use crate::{
    capture::{About, Decision, Files, Held, Limits, Rotation, Seen, WriteError},
    engine::{Query, Transaction, Verdict},
    identity::Owner,
    kernel::{self, MAX_CAPTURE_BYTES, RoleReport, RoleState},
    stats::Snapshot,
    time::Timestamp,
};

/// Write packets of DNS transactions over UDP into a pcapng file, dropped ones too.
///
/// A packet is copied in the kernel where its socket sends it, where it is put on a
/// socket's queue, and where it is dropped. Each has comments: pod, process,
/// direction, what became of its transaction, for a dropped packet the kernel's
/// reason and stack, and the interface and network namespace where it was seen.
/// Packets wait in memory until that is known, so they are in the file about
/// --lost-after later. What the kernel had not filled in yet is filled in, and a
/// comment says so. Of packets that the kernel keeps in pieces only the first is
/// there. DNS over TCP is not captured.
///
/// No existing file is overwritten; only its owner may read the new one. Killed, or
/// with a full disk, it leaves a file that can be read.
#[derive(Clone, Debug, Args)]
#[command(
    group = ArgGroup::new("which").args(["failed", "slower_than"]).multiple(true),
    after_help = "\
Exit codes: 0 done; 2 could not run, or not write.

Examples:
  dnsprobe capture -w dns.pcapng
  dnsprobe capture -w dns.pcapng --pod cart-0 --duration 1m
  dnsprobe capture -w lost.pcapng --failed --before 2s --after 2s
  dnsprobe capture -w slow.pcapng --slower-than 500ms -C 50 -W 10
  dnsprobe capture -w - | wireshark -k -i -"
)]
pub(super) struct Options {
    /// The file, which must not exist; `-`: standard output.
    #[arg(short = 'w', long = "write", value_name = "FILE")]
    file: PathBuf,
    /// Begin another file (FILE1, FILE2, ...) when one is larger than so many
    /// millions of bytes, as tcpdump does.
    #[arg(short = 'C', long, value_parser = clap::value_parser!(u64).range(1..=1_000_000), value_name = "MB")]
    file_size: Option<u64>,
    /// At most so many files (FILE0, FILE1, ...), then the first one again.
    #[arg(short = 'W', long, requires = "file_size", value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "COUNT")]
    file_count: Option<u32>,
    #[command(flatten)]
    selection: Selection,
    /// Bytes kept of each packet.
    #[arg(short = 's', long, default_value_t = MAX_CAPTURE_BYTES, value_parser = clap::value_parser!(u32).range(64..=i64::from(MAX_CAPTURE_BYTES)), value_name = "BYTES")]
    snapshot_length: u32,
    /// Memory for packets that wait.
    #[arg(long, value_parser = parse_bytes, default_value = "8MiB", value_name = "SIZE")]
    buffer: u64,
    #[command(flatten)]
    watch: WatchOptions,
}

pub(super) fn run(options: &Options) -> anyhow::Result<u8> {
    let rotation = Rotation {
        bytes: options.file_size.map(|megabytes| megabytes * 1_000_000),
        files: options.file_count,
    };
    let limits = Limits {
        lost_after: options.watch.traffic.lost_after,
        bytes: usize::try_from(options.buffer).unwrap_or(usize::MAX),
    };
    if options.file_size.is_some() && options.file == Path::new("-") {
        bail!("-C needs a file to begin another one behind");
    }
    let about = about(&options.watch, options.snapshot_length);
    let files = Files::create(&options.file, rotation, about)?;
    let mut capture = Capture::new(options.selection.clone(), limits, files);
    let watch = WatchOptions { capture: Some(options.snapshot_length), ..options.watch.clone() };
    watch::run(&watch, Detail::Transactions, None, &mut capture)?;
    eprintln!("dnsprobe: {}", capture.summary());
    Ok(EXIT_OK)
}

/// What the files say of themselves.
fn about(watch: &WatchOptions, snap_bytes: u32) -> About {
    About {
        os: format!("Linux {}", kernel::release()),
        comments: vec![format!("node: {}", watch.node_name())],
        snap_bytes,
    }
}

/// What comes in on its way into the files.
pub(super) struct Capture {
    selection: Selection,
    /// Part of something else: then it must not fail, must not become larger than
    /// this (bytes), and the last queries are to be decided first.
    beside: Option<u64>,
    held: Held,
    files: Files,
    now: Timestamp,
    seen: u64,
    dropped: u64,
    lost: u64,
}

impl Capture {
    fn new(selection: Selection, limits: Limits, files: Files) -> Self {
        Self {
            held: Held::new(selection.wanted(), limits),
            selection,
            beside: None,
            files,
            now: Timestamp::from_unix_ns(0),
            seen: 0,
            dropped: 0,
            lost: 0,
        }
    }

    /// The losses, with what happened around them, for a ticket: at most so many
    /// bytes.
    pub(super) fn of_losses(watch: &WatchOptions, file: &Path, most: u64) -> anyhow::Result<Self> {
        let selection = Selection::losses_with(Duration::from_secs(1));
        let limits = Limits { lost_after: watch.traffic.lost_after, bytes: 8 << 20 };
        let files = Files::create(file, Rotation::default(), about(watch, MAX_CAPTURE_BYTES))?;
        Ok(Self { beside: Some(most), ..Self::new(selection, limits, files) })
    }

    /// Packets written.
    pub(super) fn written(&self) -> u64 {
        self.files.packets()
    }

    /// Writes what has waited long enough.
    fn write(&mut self, all: bool) -> anyhow::Result<()> {
        if self.beside == Some(0) {
            return Ok(());
        }
        let result = self.try_write(all);
        if let (Err(error), Some(_)) = (&result, self.beside) {
            eprintln!("dnsprobe: no more packets: {error}");
            self.beside = Some(0);
            return Ok(());
        }
        Ok(result?)
    }

    fn try_write(&mut self, all: bool) -> Result<(), WriteError> {
        let Self { held, files, lost, dropped, beside, .. } = self;
        let mut result = Ok(());
        held.release(self.now.unix_ns(), all, &mut |release| {
            if result.is_ok() && beside.is_none_or(|most| files.bytes() < most) {
                *dropped += u64::from(release.seen.packet.drop.is_some());
                result = files.packet(&release, *lost);
            }
        });
        result?;
        files.flush()
    }

    fn summary(&self) -> String {
        let Self { files, held, seen, dropped, lost, .. } = self;
        let mut text = match (files.packets(), seen) {
            (0, 0) => "captured nothing: no DNS packet over UDP was seen".to_owned(),
            (0, seen) => format!("captured nothing: {seen} packets were seen, none was wanted"),
            (packets, _) => {
                format!("captured {packets} packets, {dropped} of them where they were dropped")
            }
        };
        text += &match files.count() {
            1 => format!("; in {}", files.path().display()),
            count => format!("; in {count} files, the last {}", files.path().display()),
        };
        if *lost > 0 {
            text += &format!("; {lost} packets were not captured: the kernel's buffer was full");
        }
        if held.early() > 0 {
            let early = held.early();
            text += &format!(
                "; {early} packets had to leave memory before their end was known (--buffer)"
            );
        }
        text
    }
}

impl Handler for Capture {
    fn watching(&mut self, hooks: &[RoleReport]) -> anyhow::Result<()> {
        for report in hooks {
            if let (kernel::Role::CapturePackets, RoleState::Missing { reason }) =
                (report.role, &report.state)
                && self.beside.is_none()
            {
                // It has nothing in it.
                let _ = fs::remove_file(self.files.path());
                bail!("cannot capture packets on this kernel: {reason}");
            }
        }
        Ok(())
    }

    fn packets(&mut self, packets: Vec<Seen>, lost: u64) -> anyhow::Result<()> {
        self.lost = lost;
        self.seen += packets.len() as u64;
        for seen in packets {
            let is_wanted = self.selection.wants_packet(&seen);
            self.held.packet(seen, is_wanted);
        }
        self.write(false)
    }

    fn transaction(&mut self, transaction: &Transaction) -> anyhow::Result<()> {
        let wanted = self.selection.wants_transaction(transaction);
        self.held.decided(Decision::answered(transaction, wanted));
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        let wanted = self.selection.wants_verdict(verdict);
        self.held.decided(Decision::verdict(verdict, wanted, self.now.unix_ns()));
        Ok(())
    }

    fn not_followed(
        &mut self,
        owner: &Arc<Owner>,
        role: Role,
        query: &Query,
    ) -> anyhow::Result<()> {
        let wanted = self.selection.wants_unfollowed(owner, query);
        self.held.decided(Decision::not_followed(query, role, owner, wanted, self.now.unix_ns()));
        Ok(())
    }

    fn settles(&self) -> bool {
        self.beside.is_some()
    }

    fn now(&mut self, now: Timestamp) {
        self.now = now;
    }

    fn snapshot(&mut self, _: &Arc<Snapshot>, last: bool) -> anyhow::Result<()> {
        if last {
            self.write(true)?;
            if self.beside != Some(0) {
                self.files.finish(self.lost, self.now)?;
            }
        }
        Ok(())
    }
}
