//! Processes the lab starts: always ended by process id, also when the lab
//! itself gives up.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A limit for what takes a moment and must end at all. It is ample because
/// where the clock counts instructions it jumps while the machine waits for a
/// file: a second of waiting on a busy host can be minutes in the guest.
pub const AMPLE: Duration = Duration::from_secs(900);

/// A running process with its output collected line by line.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<Line>,
    seen: Vec<String>,
    errors: Vec<String>,
}

#[derive(Debug)]
enum Line {
    Out(String),
    Err(String),
}

impl Process {
    /// Take charge of a child whose standard output and error are pipes (or
    /// not captured at all).
    #[must_use]
    pub fn new(name: impl Into<String>, mut child: Child) -> Self {
        let (sender, lines) = channel();
        let out = sender.clone();
        if let Some(stdout) = child.stdout.take() {
            forward(stdout, move |line| out.send(Line::Out(line)).is_ok());
        }
        if let Some(stderr) = child.stderr.take() {
            forward(stderr, move |line| sender.send(Line::Err(line)).is_ok());
        }
        Self { name: name.into(), child, lines, seen: Vec::new(), errors: Vec::new() }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// The process that it started, once there is one.
    pub fn only_child(&self, timeout: Duration) -> Result<Pid> {
        let pid = self.pid();
        let file = format!("/proc/{pid}/task/{pid}/children");
        let deadline = Instant::now() + timeout;
        loop {
            let children =
                fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
            if let Some(child) = children.split_whitespace().next() {
                return Ok(Pid::from_raw(child.parse()?));
            }
            if Instant::now() >= deadline {
                bail!("{} started no process in {timeout:?}", self.name);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Wait for a line on standard error that contains `text`; the line.
    pub fn wait_for(&mut self, text: &str, timeout: Duration) -> Result<String> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(line) = self.errors.iter().find(|line| line.contains(text)) {
                return Ok(line.clone());
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.keep(line),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} did not say {text:?} in {timeout:?}{}", self.name, self.complaint())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{} ended before it said {text:?}{}", self.name, self.complaint())
                }
            }
        }
    }

    /// Collect its output for this long, and pass on what is on its standard
    /// output.
    pub fn listen(&mut self, time: Duration, mut hear: impl FnMut(&str)) {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    if let Line::Out(text) = &line {
                        hear(text);
                    }
                    self.keep(line);
                }
                Err(RecvTimeoutError::Timeout) => break,
                // It ended; whoever waits for its end will say why.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(left),
            }
            if Instant::now() >= deadline {
                break;
            }
        }
    }

    /// Send a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Wait until it ends by itself; its standard output, line by line. An error
    /// unless it ends with success.
    pub fn finish(self, timeout: Duration) -> Result<Vec<String>> {
        self.finish_with(timeout, &[0])
    }

    /// The same, where these exit codes are no error.
    pub fn finish_with(self, timeout: Duration, codes: &[i32]) -> Result<Vec<String>> {
        self.finish_with_code(timeout, codes).map(|(lines, _)| lines)
    }

    /// The same with the exit code.
    pub fn finish_with_code(
        mut self,
        timeout: Duration,
        codes: &[i32],
    ) -> Result<(Vec<String>, i32)> {
        let code = self.wait_for_end(timeout, codes)?;
        Ok((std::mem::take(&mut self.seen), code))
    }

    /// Wait until it ends by itself, with success; its standard error.
    pub fn finish_with_errors(mut self, timeout: Duration) -> Result<Vec<String>> {
        self.wait_for_end(timeout, &[0])?;
        Ok(std::mem::take(&mut self.errors))
    }

    fn wait_for_end(&mut self, timeout: Duration, codes: &[i32]) -> Result<i32> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.keep(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} did not end in {timeout:?}{}", self.name, self.complaint())
                }
            }
        }
        let status = self.child.wait()?;
        let code = status.code().filter(|code| codes.contains(code));
        let Some(code) = code else {
            bail!("{} failed ({status}){}", self.name, self.complaint());
        };
        Ok(code)
    }

    /// Its standard input, when that is a pipe.
    pub fn stdin(&mut self) -> Option<&mut ChildStdin> {
        self.child.stdin.as_mut()
    }

    /// How many of the lines on standard error so far contain `text`.
    pub fn count_errors(&mut self, text: &str) -> usize {
        while let Ok(line) = self.lines.try_recv() {
            self.keep(line);
        }
        self.errors.iter().filter(|line| line.contains(text)).count()
    }

    fn keep(&mut self, line: Line) {
        match line {
            Line::Out(line) => self.seen.push(line),
            Line::Err(line) => self.errors.push(line),
        }
    }

    fn complaint(&self) -> String {
        let last: Vec<_> = self.errors.iter().rev().take(5).rev().map(String::as_str).collect();
        if last.is_empty() { String::new() } else { format!(": {}", last.join(" | ")) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // A stopped process only sees the signal once it continues.
        let _ = kill(self.pid(), Signal::SIGTERM);
        let _ = kill(self.pid(), Signal::SIGCONT);
        for _ in 0..40 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(25));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(stream: impl Read + Send + 'static, send: impl Fn(String) -> bool + Send + 'static) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if !send(line) {
                break;
            }
        }
    });
}
