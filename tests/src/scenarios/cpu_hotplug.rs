//! Processors go and come back while everything is counted. What a processor that is
//! gone has counted still counts.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{CART, COREDNS_0, COREDNS_1, DNS, VICTIM};
use crate::lab::dnsprobe::Mode;
use crate::lab::firewall::{Balance, Rules};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "cpu-hotplug",
    about: "a processor is taken offline and put back, again and again, under load",
    kernels: Kernels::TwoProcessors,
    exact_clock: false,
    run,
};

const TIMES: u32 = 4;
const QUERIES: u16 = 600;
const INTERVAL_MS: u64 = 10;
/// The machine's time is a real one here, and a processor that goes stops it.
const PATIENCE: Duration = Duration::from_secs(6);

/// The second processor.
struct Processor(&'static Path);

impl Processor {
    fn second() -> Self {
        Self(Path::new("/sys/devices/system/cpu/cpu1/online"))
    }

    fn set(&self, online: bool) -> Result<()> {
        fs::write(self.0, u8::from(online).to_string())
            .with_context(|| format!("cannot write {}", self.0.display()))
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        let _ = self.set(true);
    }
}

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default().service(DNS, &[COREDNS_0, COREDNS_1], Balance::Random).load(stage.node)?;
    let processor = Processor::second();
    let watch = stage.watch(Mode::Top, PATIENCE)?;
    let args = query::Args {
        interval_ms: INTERVAL_MS,
        timeout_ms: u64::try_from(PATIENCE.as_millis())?,
        ..query::Args::new(DNS, QUERIES)
    };
    let clients = [CART, VICTIM]
        .into_iter()
        .map(|spec| Ok((spec, stage.programs.query(stage.pod(&spec)?, &args)?)))
        .collect::<Result<Vec<_>>>()?;
    let part = Duration::from_millis(u64::from(QUERIES) * INTERVAL_MS) / (2 * TIMES + 1);
    for _ in 0..TIMES {
        for online in [false, true] {
            sleep(part);
            processor.set(online)?;
        }
    }
    let mut expectation = Expectation::default();
    for (spec, client) in clients {
        expectation.healthy(&spec.label(), &client.report()?)?;
    }
    Ok(Outcome::new(expectation, watch.finish()?))
}
