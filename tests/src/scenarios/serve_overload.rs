//! `dnsprobe serve` that may use next to nothing of a processor: it leaves out detail,
//! says so, counts on, and puts all of it back when it may use more.

use std::fs;
use std::path::Path;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::serve::{equal, series};
use super::stage::{LOST_AFTER, Stage};
use super::{Kernels, Outcome, Scenario};
use crate::lab::cast::{CART, COREDNS_0, DNS};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::serve::Server;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "serve-overload",
    about: "serve: above its share of a processor it leaves out detail and counts on",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PORT: u16 = 19_353;
const DETAILS: [&str; 3] = ["lines", "names", "servers"];

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0], Balance::Random).load(stage.node)?;
    let settings = stage.node.directories().run.join("serve-overload.toml");
    fs::write(&settings, "max-cpu-percent = 0\n")?;
    let file = settings.display().to_string();
    let further = ["--attach-again", "--config", &file];
    let directories = stage.node.directories();
    let program = &stage.programs.dnsprobe;
    let server = Server::start(program, PORT, LOST_AFTER, directories, &further)?;
    let mut problems = Vec::new();
    let queries = series("dnsprobe_queries_total", CART.namespace, CART.name, "");
    let asked = stage.healthy_pod(DNS)?.report()?.sent;
    server.wait_for_metric(&queries, asked as f64)?;
    if !tells_servers_apart(&server)? {
        problems.push("servers are not told apart at first".to_owned());
    }
    set_limit(&server, &settings, "0.0001", 1)?;
    for detail in DETAILS {
        server.wait_for_metric(&format!("dnsprobe_shed{{detail=\"{detail}\"}}"), 1.0)?;
    }
    server.wait_for_metric("dnsprobe_plans_total{result=\"attached\"}", 2.0)?;
    if tells_servers_apart(&server)? {
        problems.push("servers are still told apart".to_owned());
    }
    if !server.text("/")?.contains("Left out to stay below") {
        problems.push("the page does not say what is left out".to_owned());
    }
    problems.extend(equal("sheddings", server.metric("dnsprobe_sheddings_total")?, 3));
    let asked = asked + stage.healthy_pod(DNS)?.report()?.sent;
    set_limit(&server, &settings, "0", 2)?;
    server.wait_for_metric("dnsprobe_plans_total{result=\"attached\"}", 3.0)?;
    for detail in DETAILS {
        let series = format!("dnsprobe_shed{{detail=\"{detail}\"}}");
        problems.extend(equal(&series, server.metric(&series)?, 0));
    }
    server.wait_for_metric(&queries, asked as f64)?;
    problems.extend(equal("queries", server.metric(&queries)?, asked));
    server.finish()?;
    Ok(Outcome::default().checked("what is left out, and what is counted all the same", problems))
}

fn tells_servers_apart(server: &Server) -> Result<bool> {
    Ok(server.text("/metrics")?.contains("dnsprobe_server_queries_total{"))
}

/// The file has another limit; it is read for the `time`th time.
fn set_limit(server: &Server, file: &Path, percent: &str, time: u32) -> Result<()> {
    fs::write(file, format!("max-cpu-percent = {percent}\n"))?;
    server.signal(Signal::SIGHUP)?;
    let applied = "dnsprobe_config_reloads_total{result=\"applied\"}";
    server.wait_for_metric(applied, time.into())
}
