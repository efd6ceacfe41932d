//! More pods come and go than dnsprobe can count at once: those that left make room,
//! no query is missed, and none is counted for another pod.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::stage::{LOST_AFTER, Stage, same};
use super::{Kernels, Outcome, Scenario};
use crate::lab::crowd::Crowd;
use crate::lab::serve::Server;
use crate::observed::Snapshot;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "serve-many-pods",
    about: "serve: more pods come and go than the kernel has aggregates for at once",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PORT: u16 = 19_353;
/// Pods at once. In all they are more than the kernel's 2,048 aggregates.
const WAVE: u32 = 110;
const WAVES: u32 = 20;
/// No faster than user space forgets idle owners, which takes it 20 s.
const BETWEEN: Duration = Duration::from_millis(1_500);
/// Two readings.
const READ: Duration = Duration::from_secs(5);
/// What each member of the crowd asks.
const QUERIES: u64 = 3;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let directories = stage.node.directories();
    let server = Server::start(&stage.programs.dnsprobe, PORT, LOST_AFTER, directories, &[])?;
    let mut crowd = Crowd::new(&directories.cgroups, &directories.logs)?;
    for wave in 1..=WAVES {
        crowd.grow(WAVE)?;
        crowd.ask()?;
        if wave < WAVES {
            sleep(BETWEEN);
            crowd.leave(WAVE as usize)?;
        }
    }
    sleep(READ);
    let snapshot: Snapshot = serde_json::from_str(&server.text("/api/v1/snapshot")?)?;
    let mut problems = problems(&snapshot);
    crowd.leave(WAVE as usize)?;
    let full = server.metric("dnsprobe_aggregates_full_total")?;
    problems.extend(super::serve::equal("queries without an aggregate", full, 0));
    server.finish()?;
    Ok(Outcome::default().checked("every query of every pod is counted", problems))
}

fn problems(snapshot: &Snapshot) -> Vec<String> {
    let mut problems = Vec::new();
    let served = snapshot.pods.iter().filter(|row| row.role == "server");
    let served = served.map(|row| row.total.queries).sum();
    problems.extend(same("queries served", served, QUERIES * u64::from(WAVE * WAVES)));
    for number in WAVE * (WAVES - 1)..WAVE * WAVES {
        let label = format!("load/pod-{number}");
        let row = snapshot.pods.iter().find(|row| row.owner.label == label);
        let counts = row.map_or((0, 0), |row| (row.total.queries, row.total.answered));
        if counts != (QUERIES, QUERIES) {
            problems.push(format!("{label}: {counts:?} queries and answers"));
        }
    }
    let completeness = &snapshot.completeness;
    problems.extend(same("lost events", completeness.lost_events, 0));
    problems.extend(same("unattributed queries", completeness.unattributed_queries, 0));
    for row in &snapshot.pods {
        if row.role == "client" && row.total.queries != QUERIES {
            problems.push(format!("{}: {} queries", row.owner.label, row.total.queries));
        }
    }
    problems.truncate(20);
    problems
}
