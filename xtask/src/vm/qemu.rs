//! One run of QEMU: its arguments, the three ports between guest and host, the
//! time limit.
//!
//! Ports 1 and 2 carry the command's output, so that kernel messages (which go
//! to the console file) never mix with it; port 3 carries what session.sh
//! reports.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The emulated processor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Processor {
    pub(super) count: u32,
    /// One guest nanosecond per guest instruction; needs `count` 1.
    pub(super) instruction_count: bool,
    /// A host thread per processor. True parallelism, but some kernels die
    /// when they patch their own code under it.
    pub(super) parallel: bool,
}

/// The files of a run.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    pub(super) kernel: &'a Path,
    pub(super) initramfs: &'a Path,
    /// Writable in the guest; holds session.sh and `out`.
    pub(super) share: &'a Path,
    pub(super) console: &'a Path,
    pub(super) processor: Processor,
}

/// Where the command's output goes, and who is told that it starts.
pub(crate) struct Listener {
    pub(crate) stdout: Box<dyn Write + Send>,
    pub(crate) stderr: Box<dyn Write + Send>,
    pub(crate) on_start: Box<dyn FnOnce() + Send>,
}

/// How QEMU's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The command ended with this code.
    Exited(u8),
    /// The time was over and the guest was killed.
    TimedOut,
    /// The guest was gone before it started the command.
    NeverStarted,
    /// The guest was gone while the command ran.
    Died,
}

/// What session.sh reported, as far as it got.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Reported {
    started: bool,
    exit_code: Option<u8>,
}

const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 oops=panic mitigations=off nokaslr \
     tsc=reliable no_timer_check random.trust_cpu=on net.ifnames=0";
/// Everything that is emulated, except what makes kernels and C libraries prefer
/// the repeated string instructions: where instructions are counted, each of their
/// rounds is one that goes through the emulator's main loop, byte by byte, which
/// took half of a guest's time.
const PROCESSOR: &str = "max,-erms,-fsrm,-fzrm,-fsrs,-fsrc";
const MEMORY_MIB: u32 = 2048;
const PORTS: [&str; 3] = ["stdout", "stderr", "report"];

/// Boots the machine and returns when it is off or was killed.
pub(super) fn run(machine: &Machine<'_>, limit: Duration, listener: Listener) -> Result<End> {
    let Listener { stdout, stderr, on_start } = listener;
    let sockets = Sockets::new()?;
    let mut child = spawn(machine, &sockets)?;
    let [out, err, report] = &sockets.listeners;
    thread::scope(|scope| {
        scope.spawn(|| forward(out, stdout));
        scope.spawn(|| forward(err, stderr));
        let report = scope.spawn(|| read_report(report, on_start));
        let killed = wait(&mut child, Instant::now() + limit);
        sockets.release();
        let reported = report.join().unwrap_or_default();
        Ok(reported.end(killed?))
    })
}

fn spawn(machine: &Machine<'_>, sockets: &Sockets) -> Result<Child> {
    let errors = File::create(machine.console.with_file_name("qemu.log"))?;
    // setpriv ends QEMU together with us, however we end.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args(arguments(machine, sockets))
        .stdin(Stdio::null())
        .stdout(errors.try_clone()?)
        .stderr(errors)
        .spawn()
        .context("cannot start QEMU; run `cargo xtask setup`")
}

/// Waits for QEMU to end, and ends it at the deadline: true when it had to.
fn wait(child: &mut Child, deadline: Instant) -> Result<bool> {
    while Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    Ok(true)
}

fn arguments(machine: &Machine<'_>, sockets: &Sockets) -> Vec<String> {
    let processor = machine.processor;
    let thread = if processor.parallel { "multi" } else { "single" };
    let mut arguments: Vec<String> = [
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-machine",
        "q35",
        "-cpu",
        PROCESSOR,
    ]
    .map(str::to_owned)
    .to_vec();
    let mut add = |option: &str, value: String| {
        arguments.push(option.to_owned());
        arguments.push(value);
    };
    add("-accel", format!("tcg,thread={thread}"));
    add("-smp", processor.count.to_string());
    add("-m", MEMORY_MIB.to_string());
    if processor.instruction_count {
        add("-icount", "shift=0,sleep=off".to_owned());
    }
    add("-kernel", machine.kernel.display().to_string());
    add("-initrd", machine.initramfs.display().to_string());
    add("-append", COMMAND_LINE.to_owned());
    add("-serial", format!("file:{}", machine.console.display()));
    add(
        "-virtfs",
        "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap".to_owned(),
    );
    add(
        "-virtfs",
        format!(
            "local,path={},mount_tag=share,security_model=none,multidevs=remap",
            option_value(machine.share)
        ),
    );
    add("-device", "virtio-serial-pci".to_owned());
    for (index, port) in PORTS.iter().enumerate() {
        let number = index + 1;
        add("-chardev", format!("socket,id={port},path={}", option_value(&sockets.path(port))));
        add("-device", format!("virtserialport,chardev={port},nr={number}"));
    }
    arguments
}

/// QEMU separates options with commas; one in a value is doubled.
fn option_value(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// The ports' host side. The directory is short because a socket's path must
/// fit 108 bytes.
#[derive(Debug)]
struct Sockets {
    directory: PathBuf,
    listeners: [UnixListener; 3],
}

impl Sockets {
    fn new() -> Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("dnsprobe-vm-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        // A process that was killed may have left one under our number.
        fs::remove_dir_all(&directory).ok();
        fs::create_dir(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let [out, err, report] = PORTS.map(|port| UnixListener::bind(directory.join(port)));
        Ok(Self { listeners: [out?, err?, report?], directory })
    }

    /// Wakes whoever still waits for a QEMU that did not come.
    fn release(&self) {
        for port in PORTS {
            UnixStream::connect(self.path(port)).ok();
        }
    }

    fn path(&self, port: &str) -> PathBuf {
        self.directory.join(port)
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        // Leftovers in the temporary directory do no harm.
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// Reads `up SECONDS` and `exit CODE SECONDS` until the port closes.
fn read_report(port: &UnixListener, on_start: Box<dyn FnOnce() + Send>) -> Reported {
    let mut on_start = Some(on_start);
    let mut reported = Reported::default();
    let Ok((stream, _)) = port.accept() else {
        return reported;
    };
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        reported.read(&line);
        if reported.started
            && let Some(tell) = on_start.take()
        {
            tell();
        }
    }
    reported
}

/// Passes the command's output on as it comes, until the port closes.
fn forward(port: &UnixListener, mut to: Box<dyn Write + Send>) {
    let Ok((mut stream, _)) = port.accept() else {
        return;
    };
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        // When our own reader is gone (`| head`), the guest still runs on.
        to.write_all(&buffer[..count]).and_then(|()| to.flush()).ok();
    }
}

impl Reported {
    fn read(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("up") => self.started = true,
            Some("exit") => self.exit_code = words.next().and_then(|code| code.parse().ok()),
            _ => {}
        }
    }

    fn end(self, killed: bool) -> End {
        match self.exit_code {
            Some(code) => End::Exited(code),
            None if killed => End::TimedOut,
            None if self.started => End::Died,
            None => End::NeverStarted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(lines: &[&str]) -> Reported {
        let mut reported = Reported::default();
        lines.iter().for_each(|line| reported.read(line));
        reported
    }

    #[test]
    fn the_guests_report_decides_how_it_ended() {
        assert_eq!(reported(&["up 2.9", "exit 7 3.4"]).end(false), End::Exited(7));
        assert_eq!(reported(&["up 2.9"]).end(false), End::Died);
        assert_eq!(reported(&["up 2.9"]).end(true), End::TimedOut);
        assert_eq!(reported(&[]).end(false), End::NeverStarted);
    }

    #[test]
    fn a_command_that_ended_in_time_counts_though_power_off_hung() {
        assert_eq!(reported(&["up 2.9", "exit 0 3.4"]).end(true), End::Exited(0));
    }

    #[test]
    fn commas_in_paths_are_doubled() {
        assert_eq!(option_value(Path::new("/a,b")), "/a,,b");
    }
}
