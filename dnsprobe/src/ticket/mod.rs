//! A ticket: everything that proves what is wrong with DNS on a node, as files
//! that can be handed to whoever has to mend it. Pure but for [`write()`].

mod bundle;
mod collect;
mod ipvs;
mod markdown;
mod node;
mod page;
mod redact;
#[cfg(test)]
mod tests;
mod timelines;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use bundle::{BundleError, Place};
pub use collect::{Collector, Scope};
pub use redact::{Redact, Redactor};

use crate::{
    findings::{Code, Diagnosis},
    output::json as lines,
    record::{Damage, Header, NodeFile},
    stats::Snapshot,
};

/// Everything known of a case.
pub struct Case {
    /// Where and how it was watched.
    pub header: Header,
    /// What the kernel said of itself.
    pub files: Vec<NodeFile>,
    /// What of the recording could not be used.
    pub damage: Damage,
    /// What is wrong.
    pub diagnosis: Diagnosis,
    /// The last counters.
    pub snapshot: Snapshot,
    /// Single queries.
    pub collected: Collector,
    /// How many packets there are in `packets.pcapng`; `None`: there is no such file.
    pub packets: Option<u64>,
}

impl Case {
    /// Keeps only the findings that the ticket is about.
    pub fn narrow(&mut self, codes: &[Code]) {
        if !codes.is_empty() {
            self.diagnosis.findings.retain(|finding| codes.contains(&finding.code));
            self.diagnosis.fault = self.diagnosis.findings.iter().any(|finding| finding.fault);
        }
    }

    /// The ticket's files by name, without their checksums.
    #[must_use]
    pub fn files(&self, redactor: &mut Redactor) -> BTreeMap<String, String> {
        redactor.learn(self);
        let mut files = BTreeMap::new();
        let mut json = |name: &str, mut value: Value, redactor: &Redactor| {
            redactor.json(&mut value);
            files.insert(name.to_owned(), pretty(&value));
        };
        json("findings.json", parsed(lines::Record::Diagnosis(&self.diagnosis)), redactor);
        json("counters.json", parsed(lines::Record::Snapshot(&self.snapshot)), redactor);
        json("verdicts.json", self.collected.verdicts_json(), redactor);
        json("plan.json", self.plan(), redactor);
        let mut text = |name: &str, text: String| {
            files.insert(name.to_owned(), redactor.text(&text));
        };
        text("queries.tsv", self.collected.queries_tsv(&self.header.node));
        text("stacks.txt", self.collected.stacks_txt());
        text("timelines.txt", timelines::render(self.collected.verdicts()));
        for (name, body) in node::files(&self.files, redactor) {
            text(&name, body);
        }
        text("ticket.md", page::render(self, redactor));
        files
    }

    /// How the node was watched, and what could not be seen.
    fn plan(&self) -> Value {
        json!({
            "dnsprobe": self.header.dnsprobe,
            "node": self.header.node,
            "kernel": self.header.kernel,
            "lost_after_seconds": self.header.lost_after_ns as f64 / 1e9,
            "ports": self.header.ports,
            "roles": self.header.roles,
            "completeness": self.snapshot.completeness,
            "recording_damage": self.damage.describe(),
        })
    }
}

/// As it would be printed.
fn parsed(record: lines::Record<'_>) -> Value {
    let mut line = Vec::new();
    // Writing to memory cannot fail.
    let _ = lines::write(record, &mut line);
    serde_json::from_slice(&line).unwrap_or_default()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
