//! Running `dnsprobe serve`, and asking it over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use super::pod::Directories;
use super::process::{AMPLE, Process};

/// A dnsprobe that serves.
#[derive(Debug)]
pub struct Server {
    process: Process,
    port: u16,
}

impl Server {
    /// Start it on a port of the loopback address and wait until it serves.
    pub fn start(
        program: &Path,
        port: u16,
        lost_after: Duration,
        directories: &Directories,
        further: &[&str],
    ) -> Result<Self> {
        Self::start_with(program, port, lost_after, directories, further, Stdio::piped())
    }

    /// The same with this standard output.
    pub fn start_with(
        program: &Path,
        port: u16,
        lost_after: Duration,
        directories: &Directories,
        further: &[&str],
        stdout: Stdio,
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--interval", "500ms"])
            .args(["--lost-after", &format!("{}ms", lost_after.as_millis())])
            .args(further)
            .arg("--log-dir")
            .arg(&directories.logs)
            .arg("--cgroup-root")
            .arg(&directories.cgroups)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped());
        let child =
            command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let mut process = Process::new("dnsprobe serve", child);
        process.wait_for("dnsprobe: serving on", AMPLE)?;
        Ok(Self { process, port })
    }

    /// The body of a page.
    pub fn get(&self, path: &str) -> Result<Vec<u8>> {
        get(self.port, path)
    }

    /// The same as text.
    pub fn text(&self, path: &str) -> Result<String> {
        String::from_utf8(self.get(path)?).with_context(|| format!("{path} is no UTF-8"))
    }

    /// The value of one series of `/metrics`; 0 when it is not there.
    pub fn metric(&self, series: &str) -> Result<f64> {
        let text = self.text("/metrics")?;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(Ok(0.0), |value| value.parse().with_context(|| format!("{series} {value}")))
    }

    /// Wait until a series has at least this value.
    pub fn wait_for_metric(&self, series: &str, value: f64) -> Result<()> {
        let deadline = Instant::now() + AMPLE;
        while Instant::now() < deadline {
            if self.metric(series)? >= value {
                return Ok(());
            }
            sleep(Duration::from_millis(250));
        }
        bail!("{series} is never {value}")
    }

    /// Wait until it says so on standard error.
    pub fn wait_for(&mut self, text: &str) -> Result<String> {
        self.process.wait_for(text, AMPLE)
    }

    /// Send it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// End it as a service manager does; what it printed.
    pub fn finish(self) -> Result<Vec<String>> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.finish(AMPLE)
    }

    /// End it as the kernel does when there is no memory.
    pub fn kill(self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)
    }
}

/// The body of `http://127.0.0.1:PORT/PATH`.
pub fn get(port: u16, path: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(AMPLE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: lab\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no HTTP answer")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(status == "200", "{path}: {head}");
    Ok(answer.split_off(end + 4))
}
