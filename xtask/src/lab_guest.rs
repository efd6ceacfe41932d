//! The lab in a guest, and at most two guests at a time: emulation keeps one
//! processor of this machine busy per guest.

use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::setup::GuestKernel;
use crate::vm::{Ended, Guest, Listener};
use crate::workspace::Workspace;

const AT_ONCE: usize = 2;

/// A run of `lab` in a guest.
#[derive(Debug)]
pub(crate) struct LabGuest {
    /// What its lines start with.
    pub(crate) label: String,
    pub(crate) kernel: GuestKernel,
    /// Whether the guest's clock counts instructions, on one processor. Waiting
    /// costs nothing then, and a busy machine disturbs no measurement.
    pub(crate) exact_clock: bool,
    pub(crate) limit: Duration,
    /// Arguments of `lab`.
    pub(crate) arguments: Vec<String>,
    /// Where the files of `/out` go.
    pub(crate) out: PathBuf,
}

/// Where the guests' lines go, each with the time since the start in front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines {
    start: Instant,
    stream: Stream,
}

#[derive(Debug, Clone, Copy)]
enum Stream {
    Out,
    Err,
}

/// A line that `lab` printed, and when, since [`Lines`] began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Printed {
    pub(crate) at: Duration,
    pub(crate) line: String,
}

/// The lines of one guest, shared with whoever reads them.
pub(crate) type Kept = Arc<Mutex<Vec<Printed>>>;

impl Lines {
    /// To our stdout.
    pub(crate) fn out() -> Self {
        Self { start: Instant::now(), stream: Stream::Out }
    }

    /// To our stderr.
    pub(crate) fn err(start: Instant) -> Self {
        Self { start, stream: Stream::Err }
    }

    /// One line about a guest.
    pub(crate) fn say(self, label: &str, line: &str) {
        let time = self.start.elapsed().as_secs();
        match self.stream {
            Stream::Out => println!("{time:4} s [{label}] {line}"),
            Stream::Err => eprintln!("{time:4} s [{label}] {line}"),
        }
    }
}

impl LabGuest {
    /// Boots, runs, passes the output on. The lines that `lab` printed are kept
    /// in `printed`.
    pub(crate) fn run(&self, workspace: &Workspace, lines: Lines, printed: &Kept) -> Result<Ended> {
        lines.say(&self.label, &format!("booting {}", self.kernel.release));
        let command = ["lab".to_owned()].into_iter().chain(self.arguments.iter().cloned());
        let guest = Guest {
            kernel: self.kernel.clone(),
            processors: if self.exact_clock { 1 } else { 2 },
            instruction_count: self.exact_clock,
            parallel: false,
            limit: self.limit,
            copy: Vec::new(),
            command: command.collect(),
            terminal: None,
            out: self.out.clone(),
        };
        guest.run(
            workspace,
            Listener {
                stdout: Box::new(Prefixed::new(&self.label, lines, Some(Arc::clone(printed)))),
                stderr: Box::new(Prefixed::new(&self.label, lines, None)),
                on_start: Box::new(|| {}),
            },
        )
    }
}

/// Does `work` for each number below `count`, two at a time; the results in
/// order.
pub(crate) fn two_at_a_time<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = Mutex::new(0..count);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(index) = take(&next) {
                    let result = work(index);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

fn take(queue: &Mutex<Range<usize>>) -> Option<usize> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).next()
}

/// Prints whole lines with the guest's label in front, because two guests share
/// our output; may keep them as well.
#[derive(Debug)]
struct Prefixed {
    label: String,
    lines: Lines,
    partial: Vec<u8>,
    keep: Option<Kept>,
}

impl Prefixed {
    fn new(label: &str, lines: Lines, keep: Option<Kept>) -> Self {
        Self { label: label.to_owned(), lines, partial: Vec::new(), keep }
    }

    fn line(&self, bytes: &[u8]) {
        let line = String::from_utf8_lossy(bytes).into_owned();
        self.lines.say(&self.label, &line);
        if let Some(keep) = &self.keep {
            let at = self.lines.start.elapsed();
            keep.lock().unwrap_or_else(PoisonError::into_inner).push(Printed { at, line });
        }
    }
}

impl Write for Prefixed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.line(&line[..end]);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Prefixed {
    fn drop(&mut self) {
        if !self.partial.is_empty() {
            self.line(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_pieces() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let mut writer = Prefixed::new("6.12", Lines::out(), Some(Arc::clone(&kept)));
        for piece in ["a", "b\nc", "\n", "end"] {
            writer.write_all(piece.as_bytes()).unwrap();
        }
        drop(writer);
        let kept = kept.lock().unwrap();
        let lines: Vec<&str> = kept.iter().map(|printed| printed.line.as_str()).collect();
        assert_eq!(lines, ["ab", "c", "end"]);
    }

    #[test]
    fn results_come_in_order_whoever_ends_first() {
        let slow_first = |index: usize| {
            thread::sleep(Duration::from_millis(if index == 0 { 20 } else { 0 }));
            index * 10
        };
        assert_eq!(two_at_a_time(4, slow_first), [0, 10, 20, 30]);
    }
}
