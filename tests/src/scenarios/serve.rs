//! `dnsprobe serve` as it is used: the Prometheus of the distribution scrapes it while
//! queries are lost, and has the same counts as the clients; two run at once; one is
//! told to read its settings again; it ends, starts again at once, and is killed.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::stage::{LOST_AFTER, Stage};
use super::{Kernels, Outcome, Scenario};
use crate::client::Report;
use crate::client::query::Args;
use crate::lab::cast::{CART, COREDNS_0, DNS, VICTIM};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::loaded;
use crate::lab::process::AMPLE;
use crate::lab::prometheus::{Prometheus, lint};
use crate::lab::serve::Server;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "serve",
    about: "serve: scraped by Prometheus, beside a second one, told new settings, killed",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PORT: u16 = 19_353;
const SECOND_PORT: u16 = 19_354;
const PROMETHEUS_PORT: u16 = 19_090;
const NATIVE_PORT: u16 = 19_091;
/// A native bucket is 9.1 % wide, and a value may be 3.1 % above it.
const NATIVE_ERROR: f64 = 0.13;
const CAUSE: &str = "policy-drop";
const READ_WELL: &str = "dnsprobe_config_last_reload_successful";

pub(super) fn start(stage: &Stage<'_>, port: u16, further: &[&str]) -> Result<Server> {
    let directories = stage.node.directories();
    // In a guest everything takes its time; nothing is to be left out for that.
    let further = [&["--max-cpu-percent=0"], further].concat();
    Server::start(&stage.programs.dnsprobe, port, LOST_AFTER, directories, &further)
}

/// A counter of a client in `/metrics`, as it is written there.
pub(super) fn series(metric: &str, namespace: &str, pod: &str, more: &str) -> String {
    format!(
        "{metric}{{owner_kind=\"pod\",namespace=\"{namespace}\",pod=\"{pod}\",unit=\"\",\
         role=\"client\"{more}}}"
    )
}

/// A problem unless both are the same whole number.
pub(super) fn equal(what: &str, told: f64, truth: u64) -> Option<String> {
    ((told - truth as f64).abs() > 0.5).then(|| format!("{what}: {told}, and it was {truth}"))
}

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let blocked = format!("-A FORWARD -s {} -p udp --dport 53 -j DROP", VICTIM.address());
    Rules::default()
        .service(DNS, &[COREDNS_0], Balance::Random)
        .rule("filter", blocked)
        .load(stage.node)?;
    let before = loaded::count()?;
    let settings = stage.node.directories().run.join("serve.toml");
    fs::write(&settings, "max-owners = 500\n")?;
    let file = settings.display().to_string();

    let mut first = start(stage, PORT, &["--config", &file])?;
    // Not after five seconds: at once.
    first.get("/readyz").context("it serves and is not ready")?;
    let second = start(stage, SECOND_PORT, &[])?;
    let prometheus = Prometheus::start(PROMETHEUS_PORT, PORT)?;
    let native = Prometheus::start_native(NATIVE_PORT, PORT)?;
    let healthy = stage.healthy_pod(DNS)?;
    let args = Args { timeout_ms: 100, ..Args::new(DNS, 4) };
    let lost = stage.programs.query(stage.pod(&VICTIM)?, &args)?.report()?;
    let healthy = healthy.report()?;
    sleep(LOST_AFTER + Duration::from_millis(1500));
    prometheus.catch_up()?;

    let of_cart = |metric: &str| series(metric, CART.namespace, CART.name, "");
    let queries = of_cart("dnsprobe_queries_total");
    let causes = format!(",cause=\"{CAUSE}\"");
    let losses = series("dnsprobe_lost_queries_total", VICTIM.namespace, VICTIM.name, &causes);
    let answers = of_cart("dnsprobe_latency_seconds_count");
    let mut counts = Vec::new();
    for (series, truth) in
        [(&queries, healthy.sent), (&answers, healthy.answered), (&losses, lost.lost())]
    {
        counts.extend(equal(&format!("Prometheus, {series}"), prometheus.query(series)?, truth));
        counts.extend(equal(&format!("the first, {series}"), first.metric(series)?, truth));
        counts.extend(equal(&format!("the second, {series}"), second.metric(series)?, truth));
    }
    if lost.lost() == 0 {
        counts.push("the fault did not happen".to_owned());
    }
    native.catch_up()?;
    let natives = native_histogram(&native, &of_cart("dnsprobe_latency_seconds"), &healthy)?;
    drop(native);
    let complaints = lint(&first.text("/metrics")?)?;
    let settings = reads_settings_again(&mut first, &settings)?;
    let refusals = refuses_what_is_no_setting(stage, &file)?;

    let lines = first.finish()?;
    let told = lines.iter().filter(|line| line.contains(&format!("\"cause\":\"{CAUSE}\""))).count();
    let mut end = Vec::new();
    end.extend(equal("lost queries on standard output", told as f64, lost.lost()));
    // Within the second, on the same port; its counters begin at zero.
    let third = start(stage, PORT, &[])?;
    third.get("/readyz")?;
    end.extend(equal("queries after the restart", third.metric(&queries)?, 0));
    third.kill()?;
    second.kill()?;
    loaded::wait_for(&before, AMPLE).context("something is left in the kernel")?;
    Ok(Outcome::default()
        .checked("counts of the clients, of /metrics and of Prometheus", counts)
        .checked("the native histogram in Prometheus", natives)
        .checked("promtool check metrics", complaints)
        .checked("settings read again", settings)
        .checked("settings that are none", refusals)
        .checked("the end, the start after it, and what a kill leaves", end))
}

/// What a Prometheus that asked for native histograms has of a client's latencies.
fn native_histogram(prometheus: &Prometheus, series: &str, client: &Report) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let count = prometheus.query(&format!("histogram_count({series})"))?;
    problems.extend(equal("answers in the native histogram", count, client.answered));
    let classic = prometheus.query(&series.replacen('{', "_count{", 1))?;
    problems.extend(equal("answers in a classic one beside it", classic, 0));
    let median = prometheus.query(&format!("histogram_quantile(0.5, {series})"))?;
    let truth = client.rtt.as_ref().context("the client measured nothing")?.p50;
    if (median / truth - 1.0).abs() > NATIVE_ERROR {
        problems.push(format!("the median is {median} s, and the client measured {truth} s"));
    }
    Ok(problems)
}

/// SIGHUP with a broken file and with a good one.
fn reads_settings_again(server: &mut Server, file: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    problems.extend(equal("settings hold at the start", server.metric(READ_WELL)?, 1));
    fs::write(file, "max-owner = 1\n")?;
    server.signal(Signal::SIGHUP)?;
    let said = server.wait_for("the settings stay as they were")?;
    if !said.contains("did you mean max-owners?") {
        problems.push(format!("no suggestion: {said}"));
    }
    problems.extend(equal("settings hold when broken", server.metric(READ_WELL)?, 0));
    fs::write(file, "max-owners = 1\nlost-after = \"9s\"\nnamespaces = [\"none\"]\n")?;
    server.signal(Signal::SIGHUP)?;
    server.wait_for("the settings were read again")?;
    problems.extend(equal("settings hold again", server.metric(READ_WELL)?, 1));
    // The pods' series are shown once more, and then no more.
    server.get("/metrics")?;
    if server.text("/metrics")?.contains("namespace=\"shop\"") {
        problems.push("a namespace that is ruled out still has series".to_owned());
    }
    Ok(problems)
}

/// Exit code 2 and the name that was meant; and what `--print-config` says.
fn refuses_what_is_no_setting(stage: &Stage<'_>, file: &str) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let run = |arguments: &[&str], variable: (&str, &str)| -> Result<(Option<i32>, String)> {
        let output = Command::new(&stage.programs.dnsprobe)
            .arg("serve")
            .args(arguments)
            .env(variable.0, variable.1)
            .output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
    };
    let (code, said) = run(&["--print-config"], ("DNSPROBE_INTERVALL", "1s"))?;
    if code != Some(2) || !said.contains("did you mean DNSPROBE_INTERVAL?") {
        problems.push(format!("an unknown variable: {code:?} {said}"));
    }
    let arguments = ["--print-config", "--config", file, "--verdicts=none"];
    let (code, said) = run(&arguments, ("DNSPROBE_INTERVAL", "3s"))?;
    for (start, end) in [
        ("interval = \"3s\"", "# environment DNSPROBE_INTERVAL"),
        ("max-owners = 1 ", "# file"),
        ("verdicts = \"none\"", "# flag --verdicts"),
        ("max-verdicts = 50 ", "# default"),
    ] {
        if !said.lines().any(|line| line.starts_with(start) && line.ends_with(end)) {
            problems.push(format!("no {start:?} with {end:?} ({code:?}): {said}"));
        }
    }
    Ok(problems)
}
