//! `ticket.md`: for a human, in a minute.

use std::fmt::Write as _;

use super::{
    Case, Redactor,
    markdown::{code, plain},
    node,
};
use crate::findings::Finding;

/// Pods, items and proofs named.
const NAMED: usize = 10;

/// What each file is, for the list at the end.
const FILES: [(&str, &str); 9] = [
    ("findings.json", "what is wrong, what was ruled out, what was not seen"),
    ("verdicts.json", "single lost queries, each with its evidence"),
    ("queries.tsv", "single queries for the operator of a server"),
    ("timelines.txt", "what happened to examples, moment by moment; colliding entries"),
    ("stacks.txt", "where in the kernel packets were dropped or refused"),
    ("counters.json", "queries, answers, losses and latency per pod and server"),
    ("plan.json", "which hooks were attached, and how"),
    (
        "node/",
        "the kernel's own counters, settings and tables, before and after; conntrack entries by owner; IPVS in plain addresses",
    ),
    ("SHA256SUMS", "checksums: `sha256sum -c SHA256SUMS`"),
];

pub(super) fn render(case: &Case, redactor: &Redactor) -> String {
    let mut text = String::new();
    summary(case, &mut text);
    for finding in &case.diagnosis.findings {
        section(finding, &mut text);
    }
    ruled_out(case, &mut text);
    unseen(case, redactor, &mut text);
    counters(case, &mut text);
    conntrack(case, redactor, &mut text);
    text += "\n## For the operator of a server\n\n";
    text += "`queries.tsv` has, of each lost or failed query: when it was sent (UTC), node, pod, \
             client, the server asked and who that is, the packet as it left the node and who it \
             was for, transport, id, name, type, and the response code or the cause of its loss. \
             A `-` is not known.\n";
    text += "\n## Files\n\n";
    for (name, what) in FILES {
        let _ = writeln!(text, "- `{name}`: {what}");
    }
    if let Some(packets) = case.packets {
        let _ = writeln!(
            text,
            "- `packets.pcapng`: {packets} packets, those of lost queries and all within a second \
             of these, for Wireshark; each has comments"
        );
    }
    text
}

fn summary(case: &Case, text: &mut String) {
    let diagnosis = &case.diagnosis;
    let _ = writeln!(text, "# DNS on {}\n", plain(&case.header.node));
    let codes: Vec<String> = diagnosis
        .findings
        .iter()
        .filter(|finding| finding.fault)
        .map(|finding| format!("{} ({} times)", code(finding.code.as_str()), finding.count))
        .collect();
    if codes.is_empty() {
        text.push_str("No fault was found.\n");
    } else {
        let _ = writeln!(text, "Wrong: {}.\n", codes.join(", "));
    }
    let _ = writeln!(text, "| | |\n|---|---|");
    let mut row = |what: &str, value: String| {
        let _ = writeln!(text, "| {what} | {value} |");
    };
    row("until", diagnosis.time.to_string());
    row("watched for", format!("{:.1} s", diagnosis.since_seconds));
    row("queries", diagnosis.queries.to_string());
    row("answered", diagnosis.answered.to_string());
    row("lost", diagnosis.lost_total.to_string());
    row("a query is lost after", format!("{:.3} s", case.header.lost_after_ns as f64 / 1e9));
    row("kernel", code(&case.header.kernel));
    row("dnsprobe", code(&case.header.dnsprobe));
}

fn section(finding: &Finding, text: &mut String) {
    let subject = finding
        .subject
        .as_ref()
        .map_or_else(String::new, |subject| format!(" of {}", code(subject)));
    let kind = if finding.fault { "Fault" } else { "Note" };
    let _ = writeln!(text, "\n## {kind}: {}{subject}\n", finding.code);
    let _ = writeln!(text, "{}\n", finding.summary);
    let some = |all: Vec<String>| {
        let more = all.len().saturating_sub(NAMED);
        let named = all.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{named} and {more} more") } else { named }
    };
    let pods = finding.pods.iter().map(|pod| {
        format!("{} ({} of {} queries)", code(&pod.owner.to_string()), pod.count, pod.queries)
    });
    let _ = writeln!(text, "- **Whose:** {}", some(pods.collect()));
    let _ = writeln!(text, "- **Since when:** {} to {}", finding.first, finding.last);
    let _ = writeln!(
        text,
        "- **How often:** {} times, of {} queries of these pods; pattern: {}",
        finding.count, finding.queries, finding.pattern
    );
    if !finding.items.is_empty() {
        let items =
            finding.items.iter().map(|item| format!("{} ({})", code(&item.what), item.count));
        let _ = writeln!(text, "- **Of these:** {}", some(items.collect()));
    }
    for proof in finding.proof.iter().take(NAMED) {
        let _ = writeln!(text, "- **Proof:** {}", plain(proof));
    }
    let _ = writeln!(text, "- **What to do:** {}", finding.advice);
}

fn ruled_out(case: &Case, text: &mut String) {
    text.push_str("\n## Ruled out\n\n");
    if case.diagnosis.ruled_out.is_empty() {
        text.push_str("Nothing.\n");
    }
    for item in &case.diagnosis.ruled_out {
        let _ = writeln!(text, "- {}", plain(&item.text));
    }
}

fn unseen(case: &Case, redactor: &Redactor, text: &mut String) {
    text.push_str("\n## Not seen\n\n");
    let mut lines: Vec<String> = Vec::new();
    let completeness = &case.snapshot.completeness;
    for missing in &completeness.missing {
        lines.push(format!("{}: {}", code(&missing.role), plain(&missing.reason)));
    }
    for item in &case.diagnosis.not_ruled_out {
        lines.push(format!("not ruled out: {}, {}", item.what, plain(&item.reason)));
    }
    for (count, what) in [
        (completeness.lost_events, "events were lost"),
        (completeness.in_flight_full, "queries were not followed, the table was full"),
        (completeness.stats_full, "transactions were not counted"),
        (completeness.tcp_unread, "messages over TCP could not be read"),
        (completeness.missed_runs, "runs of kernel programs were skipped"),
        (completeness.unattributed_queries, "queries could not be attributed to anyone"),
        (case.diagnosis.in_flight, "queries were not decided yet"),
    ] {
        if count > 0 {
            lines.push(format!("{count} {what}"));
        }
    }
    if !case.header.transactions {
        lines.push("answered queries one by one; only their counts".to_owned());
    }
    lines.extend(node::absent(&case.files).map(|(path, why)| format!("{}: {why}", code(path))));
    lines.extend(case.damage.describe().map(|damage| format!("of the recording: {damage}")));
    lines.extend(
        node::left_out(&case.files, redactor)
            .into_iter()
            .map(|path| format!("{} is left out: its addresses could not be hidden", code(path))),
    );
    if lines.is_empty() {
        text.push_str("Every hook was attached, and no event was lost.\n");
    }
    for line in lines {
        let _ = writeln!(text, "- {line}");
    }
}

fn counters(case: &Case, text: &mut String) {
    text.push_str("\n## The kernel's own counters\n\n");
    match node::moved(&case.files) {
        None => text.push_str("They were not read both before and after.\n"),
        Some(moved) if moved.is_empty() => text.push_str("None of them moved.\n"),
        Some(moved) => {
            text.push_str("Of the whole node, or of dnsprobe's own network namespace; they say how much, never whose.\n\n");
            text.push_str("| counter | before | after | change |\n|---|---:|---:|---:|\n");
            for node::Moved { name, before, after } in moved {
                let change = i128::from(after) - i128::from(before);
                let _ = writeln!(text, "| {} | {before} | {after} | {change:+} |", code(&name));
            }
        }
    }
}

fn conntrack(case: &Case, redactor: &Redactor, text: &mut String) {
    let rows = node::conntrack(&case.files, redactor);
    if rows.is_empty() {
        return;
    }
    let count = |entries: Option<u64>| entries.map_or_else(|| "-".to_owned(), |n| n.to_string());
    text.push_str("\n## Who fills the conntrack table\n\n");
    text.push_str("Entries by the pod that sent the first packet; `-`: none, or not read.\n\n");
    text.push_str("| owner | before | after |\n|---|---:|---:|\n");
    for row in rows.iter().take(NAMED) {
        let (before, after) = (count(row.before), count(row.after));
        let _ = writeln!(text, "| {} | {before} | {after} |", code(&row.owner));
    }
    if rows.len() > NAMED {
        let _ = writeln!(text, "\nand {} more in `node/`.", rows.len() - NAMED);
    }
}
