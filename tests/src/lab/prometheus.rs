//! The distribution's Prometheus: scrapes, and answers queries over HTTP.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::process::{AMPLE, Process};
use super::serve::get;

/// `promtool`, which checks what is exposed.
const PROMTOOL: &str = "promtool";

/// A Prometheus that runs.
#[derive(Debug)]
pub struct Prometheus {
    _process: Process,
    port: u16,
    directory: PathBuf,
}

impl Prometheus {
    /// Start it; it scrapes this port of the loopback address every second.
    pub fn start(port: u16, target: u16) -> Result<Self> {
        Self::start_with(port, target, &[])
    }

    /// The same for one that asks for native histograms.
    pub fn start_native(port: u16, target: u16) -> Result<Self> {
        Self::start_with(port, target, &["--enable-feature=native-histograms"])
    }

    fn start_with(port: u16, target: u16, further: &[&str]) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("prometheus-{port}"));
        fs::create_dir_all(&directory)?;
        let config = directory.join("prometheus.yml");
        fs::write(
            &config,
            format!(
                "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
                 scrape_configs: [{{job_name: dnsprobe, honor_labels: true, \
                 static_configs: [{{targets: ['127.0.0.1:{target}']}}]}}]\n"
            ),
        )?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(further)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child =
            command.spawn().context("cannot start prometheus; `cargo xtask setup` installs it")?;
        let mut process = Process::new("prometheus", child);
        process.wait_for("Server is ready", AMPLE)?;
        Ok(Self { _process: process, port, directory })
    }

    /// What a query yields now; 0 when nothing.
    pub fn query(&self, query: &str) -> Result<f64> {
        let answer = self.answer(query)?;
        let value = answer["data"]["result"][0]["value"][1].as_str();
        value.map_or(Ok(0.0), |value| Ok(value.parse()?))
    }

    /// Every number that a query yields now.
    pub fn numbers(&self, query: &str) -> Result<Vec<f64>> {
        let answer = self.answer(query)?;
        let series = answer["data"]["result"].as_array().context("no result")?;
        let values = series.iter().filter_map(|series| series["value"][1].as_str());
        let mut numbers = values.map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        numbers.retain(|number| !number.is_nan());
        Ok(numbers)
    }

    fn answer(&self, query: &str) -> Result<Value> {
        let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = get(self.port, &format!("/api/v1/query?query={query}"))?;
        let answer: Value = serde_json::from_slice(&answer)?;
        ensure!(answer["status"] == "success", "prometheus: {answer}");
        Ok(answer)
    }

    /// Wait until it has scraped what happened up to now: a scrape that began after
    /// this call.
    pub fn catch_up(&self) -> Result<()> {
        let scraped = || self.query("count_over_time(up{job=\"dnsprobe\"}[1h])");
        let before = scraped()?;
        let deadline = Instant::now() + AMPLE;
        while scraped()? < before + 2.0 {
            ensure!(Instant::now() < deadline, "prometheus does not scrape");
            sleep(Duration::from_millis(250));
        }
        Ok(())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// What `promtool check metrics` has against a page of metrics.
pub fn lint(page: &str) -> Result<Vec<String>> {
    let mut child = Command::new(PROMTOOL)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run promtool; `cargo xtask setup` installs it")?;
    child.stdin.take().context("promtool has no input")?.write_all(page.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    let mut complaints: Vec<String> =
        String::from_utf8_lossy(&said).lines().map(|line| format!("promtool: {line}")).collect();
    if !output.status.success() && complaints.is_empty() {
        complaints.push(format!("promtool: {}", output.status));
    }
    Ok(complaints)
}
