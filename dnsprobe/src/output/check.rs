//! The result of `dnsprobe check`: as text, and as one JSON object.

use std::net::SocketAddr;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Terminal, json,
    text::{clean, wrap},
};
use crate::{
    identity::Owner,
    setup::{DnsService, Finding, Place, Report, Severity, Sysctl, Unread},
};

/// Places that the text lists one by one.
const LISTED_PLACES: usize = 8;
/// Owners of conntrack entries that are listed.
const LISTED_OWNERS: usize = 5;
/// Columns of the words before each line.
const TITLE: usize = 8;

#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    kind: &'static str,
    kernel: &'a str,
    complete: bool,
    pods: usize,
    containers: usize,
    findings: &'a [Finding],
    unread: &'a [Unread],
    node: Node<'a>,
}

#[derive(Serialize)]
struct Node<'a> {
    conntrack: Conntrack<'a>,
    ipvs: Ipvs<'a>,
    sysctls: Map<String, Value>,
    backlog_dropped: Option<u64>,
    receive_buffer_errors: Option<u64>,
}

#[derive(Serialize)]
struct Conntrack<'a> {
    entries: Option<u64>,
    dropped: Option<u64>,
    early_dropped: Option<u64>,
    owners: Vec<OwnedEntries<'a>>,
    other_entries: Option<u64>,
}

#[derive(Serialize)]
struct OwnedEntries<'a> {
    owner: &'a Owner,
    entries: u64,
}

#[derive(Serialize)]
struct Ipvs<'a> {
    services: Vec<Service<'a>>,
    udp_timeout_seconds: Option<u64>,
}

#[derive(Serialize)]
struct Service<'a> {
    service: SocketAddr,
    backends: Vec<Backend<'a>>,
}

#[derive(Serialize)]
struct Backend<'a> {
    backend: &'a SocketAddr,
    weight: &'a Option<i32>,
}

/// The report as one line of JSON, without its end.
///
/// # Errors
/// Never in practice: every value is a number or text.
pub fn to_json(report: &Report) -> Result<String, serde_json::Error> {
    let node = &report.node;
    let value = |sysctl: Sysctl| (sysctl.name().to_owned(), node.sysctl(sysctl).into());
    let service = |service: &'_ DnsService| service.address;
    let line = Line {
        schema: json::SCHEMA,
        kind: "check",
        kernel: &node.release,
        complete: report.unread.is_empty(),
        pods: report.pods,
        containers: report.containers,
        findings: &report.findings,
        unread: &report.unread,
        node: Node {
            conntrack: Conntrack {
                entries: node.conntrack.entries,
                dropped: node.conntrack.dropped,
                early_dropped: node.conntrack.early_dropped,
                owners: node
                    .conntrack
                    .owners
                    .iter()
                    .map(|(owner, entries)| OwnedEntries { owner, entries: *entries })
                    .collect(),
                other_entries: node.conntrack.others,
            },
            ipvs: Ipvs {
                services: node
                    .ipvs
                    .dns_services
                    .iter()
                    .map(|listed| Service {
                        service: service(listed),
                        backends: listed
                            .backends
                            .iter()
                            .map(|(backend, weight)| Backend { backend, weight })
                            .collect(),
                    })
                    .collect(),
                udp_timeout_seconds: node.ipvs.udp_timeout_seconds,
            },
            sysctls: Sysctl::ALL.into_iter().map(value).collect(),
            backlog_dropped: node.network.backlog_dropped,
            receive_buffer_errors: node.network.receive_buffer_errors,
        },
    };
    serde_json::to_string(&line)
}

/// The report for people.
#[must_use]
pub fn to_text(report: &Report, terminal: &Terminal) -> String {
    let mut lines = vec![format!(
        "kernel {}, {} in {}",
        clean(&report.node.release),
        count(report.containers, "container"),
        count(report.pods, "pod"),
    )];
    lines.extend(conntrack(report));
    for finding in &report.findings {
        lines.push(String::new());
        lines.extend(finding_lines(finding, terminal));
    }
    if !report.unread.is_empty() {
        lines.push(String::new());
        lines.push("Could not be read; nothing is said about:".to_owned());
        for unread in &report.unread {
            let text = format!("{}: {}", unread.what, unread.reason);
            lines.extend(wrap(&clean(&text), "  ", terminal.width));
        }
    }
    lines.push(String::new());
    lines.push(verdict(report));
    lines.join("\n") + "\n"
}

fn conntrack(report: &Report) -> Option<String> {
    let entries = report.node.conntrack.entries?;
    let mut line = format!("conntrack {entries} entries");
    if let Some(max) = report.node.sysctl(Sysctl::ConntrackMax) {
        line += &format!(" of {max}");
    }
    let owners: Vec<String> = report
        .node
        .conntrack
        .owners
        .iter()
        .take(LISTED_OWNERS)
        .map(|(owner, entries)| format!("{} {entries}", clean(&owner.to_string())))
        .collect();
    if !owners.is_empty() {
        line += &format!("; by pod: {}", owners.join(", "));
    }
    Some(line)
}

fn finding_lines(finding: &Finding, terminal: &Terminal) -> Vec<String> {
    let mut lines = vec![format!("{:<9} {}", finding.severity, finding.problem)];
    let proof: Vec<String> =
        finding.proof.iter().map(|proof| format!("{}: {}", proof.source, proof.value)).collect();
    for (title, text) in [
        ("what", finding.summary.clone()),
        ("where", places(&finding.places)),
        ("proof", proof.join("; ")),
        ("advice", finding.advice.to_owned()),
    ] {
        let wrapped = wrap(&clean(&text), &" ".repeat(TITLE + 2), terminal.width);
        for (index, line) in wrapped.iter().enumerate() {
            let title = if index == 0 { title } else { "" };
            lines.push(format!("  {title:<TITLE$}{}", line.trim_start()));
        }
    }
    lines
}

fn places(places: &[Place]) -> String {
    let mut words: Vec<String> = places
        .iter()
        .take(LISTED_PLACES)
        .map(|place| match (&place.owner, place.pid) {
            (Some(owner), Some(pid)) => format!("{owner} (pid {pid})"),
            (Some(owner), None) => owner.to_string(),
            (None, _) => "this node".to_owned(),
        })
        .collect();
    if let Some(more) = places.len().checked_sub(LISTED_PLACES).filter(|more| *more > 0) {
        words.push(format!("and {more} more (-o json lists all)"));
    }
    words.join(", ")
}

fn verdict(report: &Report) -> String {
    let notes = report.findings.iter().filter(|f| f.severity == Severity::Note).count();
    let problems = report.findings.len() - notes;
    let unread = if report.unread.is_empty() { "" } else { " in what could be read" };
    match (problems, notes) {
        (0, 0) => format!("Nothing is wrong{unread}."),
        (0, notes) => format!("Nothing is wrong{unread}; {}.", count(notes, "note")),
        (problems, 0) => format!("{}.", count(problems, "problem")),
        (problems, notes) => format!("{}, {}.", count(problems, "problem"), count(notes, "note")),
    }
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        dns::resolv_conf::ResolvConf,
        setup::{Container, NodeFacts, Reachability, ResolvConfFile, judge},
    };

    fn report(release: &str) -> Report {
        let owner = Arc::new(Owner::Pod {
            namespace: Some("shop".to_owned()),
            pod: Some("bad".to_owned()),
            container: None,
            uid: "u-1".to_owned(),
            details: crate::identity::PodDetails::default(),
        });
        let conf = ResolvConf::parse(b"nameserver 203.0.113.53\noptions \x1b[2Jx\n");
        let address = conf.nameservers[0].address;
        let unreachable = Reachability::NoRoute("Network is unreachable".to_owned());
        let container = Container {
            owner: Arc::clone(&owner),
            pid: 42,
            resolv_conf: ResolvConfFile::Read(conf),
            library: Some(crate::setup::Library::Musl),
            reachability: vec![(address, unreachable)],
        };
        let mut node = NodeFacts { release: release.to_owned(), ..NodeFacts::default() };
        node.conntrack.entries = Some(7);
        node.conntrack.owners = vec![(owner, 5)];
        let findings = judge(&node, &[container]);
        let unread =
            vec![Unread { what: "nftables".to_owned(), reason: "no permission".to_owned() }];
        Report { node, pods: 1, containers: 1, findings, unread }
    }

    #[test]
    fn the_text_says_what_where_why_and_what_to_do() {
        let text = to_text(&report("6.12.0"), &Terminal::PLAIN);
        for part in [
            "kernel 6.12.0, 1 container in 1 pod\n",
            "conntrack 7 entries; by pod: shop/bad 5\n",
            "critical  nameserver-without-route\n",
            "  where   shop/bad (pid 42)\n",
            "/etc/resolv.conf, line 1: nameserver 203.0.113.53; the pod's routes: Network is",
            "nothing is said about:\n  nftables: no permission\n",
            "2 problems.\n",
        ] {
            assert!(text.contains(part), "no {part:?} in:\n{text}");
        }
        assert!(!text.contains('\x1b'), "{text:?}");
    }

    #[test]
    fn nothing_wrong_is_said_only_of_what_was_read() {
        let mut empty = report("6.12.0");
        empty.findings.clear();
        assert!(
            to_text(&empty, &Terminal::PLAIN).contains("Nothing is wrong in what could be read.")
        );
        empty.unread.clear();
        assert!(to_text(&empty, &Terminal::PLAIN).ends_with("Nothing is wrong.\n"));
        assert!(!empty.has_problems());
    }

    #[test]
    fn the_json_has_the_same_with_its_keys() {
        let json: Value = serde_json::from_str(&to_json(&report("6.12.0")).unwrap()).unwrap();
        assert_eq!(json["schema"], "dnsprobe/1");
        assert_eq!(json["kind"], "check");
        assert_eq!(json["complete"], false);
        let finding = &json["findings"][0];
        assert_eq!(finding["code"], "pod-config");
        assert_eq!(finding["problem"], "nameserver-without-route");
        assert_eq!(finding["severity"], "critical");
        assert_eq!(finding["places"][0]["owner"]["label"], "shop/bad");
        assert_eq!(finding["proof"][0]["source"], "/etc/resolv.conf, line 1");
        assert_eq!(json["node"]["conntrack"]["owners"][0]["entries"], 5);
        assert!(json["node"]["sysctls"]["net.core.rmem_max"].is_null());
    }
}
