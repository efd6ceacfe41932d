//! What a watch adds to its recording besides what passes through the
//! pipeline: where it was made, and what the kernel said of itself.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{NodePlaces, WatchOptions, conntrack_owners, pipeline::Pipeline, watch::Detail};
use crate::{
    engine::Blindness,
    identity::Identity,
    kernel::{self, NodeText, RoleState, Session, now_ns},
    record::{CONNTRACK_OWNERS, Entry, Header, Limits, NodeFile, Phase, RoleEntry},
    stats::Missing,
    time::Timestamp,
};

/// A gigabyte in all: nobody's disk is filled by what was left running.
pub(super) const LIMITS: Limits = Limits { part_bytes: 100 << 20, parts: 10, part_time: None };

/// Who records what, where, and with which settings.
pub(super) fn header(
    options: &WatchOptions,
    detail: Detail,
    session: &Session,
    blindness: Blindness,
    missing: Vec<Missing>,
) -> Header {
    let monotonic_ns = now_ns();
    Header {
        dnsprobe: env!("CARGO_PKG_VERSION").to_owned(),
        // Two recordings of one node never begin in the same nanosecond.
        recording: Timestamp(SystemTime::now()).unix_ns(),
        part: 0,
        node: options.node_name(),
        kernel: kernel::release(),
        wall_ns: session.clock().timestamp(monotonic_ns).unix_ns(),
        monotonic_ns,
        lost_after_ns: nanos(options.traffic.lost_after),
        ports: options.traffic.ports.clone(),
        transactions: detail == Detail::Transactions,
        roles: session.roles().iter().map(role).collect(),
        blindness,
        missing,
    }
}

fn role(report: &kernel::RoleReport) -> RoleEntry {
    let entry = RoleEntry {
        role: report.role.to_string(),
        passed_over: report.passed_over.clone(),
        ..RoleEntry::default()
    };
    match &report.state {
        RoleState::Attached { mechanism, symbols } => RoleEntry {
            state: "attached".to_owned(),
            mechanism: Some(mechanism.to_string()),
            symbols: symbols.clone(),
            ..entry
        },
        RoleState::NotNeeded { reason } => {
            RoleEntry { state: "not-needed".to_owned(), reason: Some(reason.clone()), ..entry }
        }
        RoleState::Missing { reason } => {
            RoleEntry { state: "missing".to_owned(), reason: Some(reason.clone()), ..entry }
        }
    }
}

/// Adds what was read of the node's files.
pub(super) fn node_files(pipeline: &mut Pipeline, files: Vec<NodeText>, phase: Phase) {
    for NodeText { path, text, cut } in files {
        pipeline.take_down(&Entry::NodeFile(Box::new(NodeFile { path, phase, text, cut })));
    }
}

/// Adds whose the entries of the conntrack table are.
pub(super) fn conntrack_owners(
    pipeline: &mut Pipeline,
    node: &NodePlaces,
    identity: &mut Identity,
    phase: Phase,
) {
    let all = identity.containers();
    let found = match conntrack_owners::read(node, &all, identity.host_netns()) {
        Ok(Some(found)) => {
            let owners: Vec<Value> = found
                .owners
                .iter()
                .map(|(owner, entries)| json!({ "owner": owner, "entries": entries }))
                .collect();
            json!({ "owners": owners, "others": found.others })
        }
        Ok(None) => return,
        Err(error) => json!({ "unreadable": error.to_string() }),
    };
    let path = CONNTRACK_OWNERS.to_owned();
    let text = format!("{found:#}\n");
    let file = NodeFile { path, phase, text, cut: false };
    pipeline.take_down(&Entry::NodeFile(Box::new(file)));
}

/// Ends the recording, if there is one, and says what became of it.
pub(super) fn finish(pipeline: &mut Pipeline, node: &NodePlaces, identity: &mut Identity) {
    if !pipeline.records() {
        return;
    }
    conntrack_owners(pipeline, node, identity, Phase::After);
    node_files(pipeline, kernel::node_files_after(), Phase::After);
    let Some(summary) = pipeline.take_recorder().map(|recorder| recorder.finish()) else { return };
    let parts =
        if summary.parts == 1 { String::new() } else { format!(" in {} parts", summary.parts) };
    eprintln!("dnsprobe: recorded {} bytes{parts}", summary.bytes);
    if summary.lost_entries > 0 {
        let reason = summary.error.unwrap_or_else(|| "the disk was too slow".to_owned());
        eprintln!("dnsprobe: {} entries could not be written: {reason}", summary.lost_entries);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
