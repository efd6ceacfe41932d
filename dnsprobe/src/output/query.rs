//! What `dnsprobe query` measured, for people and for machines.

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr, path::Path};

use serde::Serialize;

use super::{
    Terminal, json,
    terminal::Colour,
    text::{clean, millis, wrap},
};
use crate::{
    dns::{QType, Question, resolv_conf::Effective},
    identity::{Owner, escape},
    kernel::Source,
    query::{Conclusion, Discarded, Outcome, Report as Measured, Step, Tries},
};

/// Everything there is to tell.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The name as typed.
    pub typed: &'a str,
    /// The pod asked from.
    pub owner: Option<&'a Owner>,
    /// The network namespace asked from; `None`: dnsprobe's own.
    pub netns: Option<&'a Path>,
    /// What resolv.conf says there; `None`: not read.
    pub resolver: Option<&'a Effective>,
    /// The measurements.
    pub measured: &'a Measured,
    /// Servers beyond the limit.
    pub not_asked: usize,
    /// Where backends may be that could not be read.
    pub unreadable: &'a [(Source, String)],
    /// What they prove.
    pub conclusions: &'a [Conclusion],
}

/// The text form.
#[must_use]
pub fn text(report: &Report<'_>, terminal: &Terminal) -> String {
    let mut text = String::new();
    let question = &report.measured.question;
    let _ = writeln!(
        text,
        "{} {} from {}",
        escape(report.typed.as_bytes()),
        question.qtype,
        whence(report)
    );
    if let Some(resolver) = report.resolver {
        let _ = writeln!(text, "{}", configuration(resolver));
    }
    text.push('\n');
    steps(report, terminal, &mut text);
    table(report, terminal, &mut text);
    for (source, reason) in report.unreadable {
        let _ = writeln!(text, "backends in {source} are not known: {}", clean(reason));
    }
    if report.not_asked > 0 {
        let _ = writeln!(text, "{} further servers were not asked", report.not_asked);
    }
    text.push('\n');
    for conclusion in report.conclusions {
        let colour = if conclusion.is_fault() { Colour::Loss } else { Colour::Bold };
        let _ = writeln!(text, "{}", terminal.paint(colour, conclusion.code()));
        for line in wrap(&conclusion.to_string(), "  ", terminal.width) {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

fn whence(report: &Report<'_>) -> String {
    let path = report.netns.map(|path| escape(path.as_os_str().as_encoded_bytes()));
    match (report.owner, path) {
        (Some(owner), Some(path)) => format!("{} ({path})", clean(&owner.to_string())),
        (None, Some(path)) => path,
        (_, None) => "dnsprobe's own network namespace".to_owned(),
    }
}

fn configuration(resolver: &Effective) -> String {
    let list =
        |items: Vec<String>| if items.is_empty() { "none".to_owned() } else { items.join(" ") };
    format!(
        "resolv.conf: nameserver {}; search {}; ndots {}, timeout {} s, attempts {}",
        list(resolver.nameservers.iter().map(|server| server.address.to_string()).collect()),
        list(resolver.search.iter().map(ToString::to_string).collect()),
        resolver.ndots,
        resolver.timeout_seconds,
        resolver.attempts
    )
}

/// The search list at work.
fn steps(report: &Report<'_>, terminal: &Terminal, text: &mut String) {
    let heading = format!("A RESOLVER ASKS FOR, IN THIS ORDER ({})", report.measured.steps.len());
    let _ = writeln!(text, "{}", terminal.paint(Colour::Bold, &heading));
    for step in &report.measured.steps {
        let answer = match (&step.answer, step.server) {
            (Some(answer), Some(server)) => {
                let cut = if answer.truncated { ", cut short" } else { "" };
                format!("{} ({} records{cut}) from {server}", answer.rcode, answer.records)
            }
            _ => "no answer from any server".to_owned(),
        };
        let _ = writeln!(text, "{}  {answer}", step.name);
    }
    text.push('\n');
}

fn table(report: &Report<'_>, terminal: &Terminal, text: &mut String) {
    let heading = format!(
        "{:<38} {:<5} {:>4} {:>8} {:>7} {:>7} ANSWERS",
        "SERVER", "BY", "SENT", "ANSWERED", "MIN ms", "MAX ms"
    );
    let _ = writeln!(text, "{}", terminal.paint(Colour::Bold, &heading));
    for one in &report.measured.measurements {
        let target = &one.target;
        let server = match (target.backend_of.is_empty(), target.service) {
            (false, _) => format!("  backend {}", target.address),
            (true, true) => format!("service {}", target.address),
            (true, false) => target.address.to_string(),
        };
        for (by, tries) in [("udp", &one.udp), ("tcp", &one.tcp)] {
            if tries.sent() == 0 {
                continue;
            }
            let counts = Counts::of(tries);
            let (min, max) = counts
                .min_seconds
                .zip(counts.max_seconds)
                .map_or(("-".to_owned(), "-".to_owned()), |(min, max)| (millis(min), millis(max)));
            let _ = writeln!(
                text,
                "{server:<38} {by:<5} {:>4} {:>8} {min:>7} {max:>7} {}",
                counts.sent,
                counts.answered,
                counts.words()
            );
        }
    }
}

/// Queries to one server over one transport, added up.
#[derive(Debug, Default, Serialize)]
struct Counts<'a> {
    sent: usize,
    answered: usize,
    timed_out: usize,
    refused: usize,
    unreachable: usize,
    not_permitted: usize,
    failed: usize,
    errors: Vec<&'a str>,
    min_seconds: Option<f64>,
    max_seconds: Option<f64>,
    rcodes: BTreeMap<&'a str, usize>,
    truncated: usize,
    discarded: Vec<Discarded>,
}

impl<'a> Counts<'a> {
    fn of(tries: &'a Tries) -> Self {
        let (min_seconds, max_seconds) = tries.seconds().unzip();
        let mut counts = Self { sent: tries.sent(), min_seconds, max_seconds, ..Self::default() };
        for exchange in &tries.0 {
            match &exchange.outcome {
                Outcome::Answered { answer, .. } => {
                    counts.answered += 1;
                    counts.truncated += usize::from(answer.truncated);
                    *counts.rcodes.entry(&answer.rcode).or_default() += 1;
                }
                Outcome::TimedOut => counts.timed_out += 1,
                Outcome::Refused => counts.refused += 1,
                Outcome::Unreachable => counts.unreachable += 1,
                Outcome::NotPermitted => counts.not_permitted += 1,
                Outcome::Failed(error) => {
                    counts.failed += 1;
                    if !counts.errors.contains(&error.as_str()) {
                        counts.errors.push(error);
                    }
                }
            }
            for discarded in &exchange.discarded {
                if !counts.discarded.contains(discarded) {
                    counts.discarded.push(*discarded);
                }
            }
        }
        counts
    }

    fn words(&self) -> String {
        let mut words: Vec<String> =
            self.rcodes.iter().map(|(code, count)| format!("{count} {code}")).collect();
        for (count, what) in [
            (self.truncated, "cut short"),
            (self.timed_out, "timed out"),
            (self.refused, "connection refused"),
            (self.unreachable, "unreachable"),
            (self.not_permitted, "not permitted"),
            (self.failed, "failed"),
            (self.discarded.len(), "kinds discarded"),
        ] {
            if count > 0 {
                words.push(format!("{count} {what}"));
            }
        }
        words.extend(self.errors.iter().map(|error| clean(error).into_owned()));
        words.join(", ")
    }
}

#[derive(Serialize)]
struct Json<'a> {
    schema: &'static str,
    kind: &'static str,
    name: String,
    #[serde(rename = "type")]
    qtype: QType,
    owner: Option<&'a Owner>,
    netns: Option<String>,
    resolver: Option<Resolver>,
    steps: &'a [Step],
    question: &'a Question,
    servers: Vec<Server<'a>>,
    not_asked: usize,
    unreadable: Vec<Unreadable<'a>>,
    broken: bool,
    conclusions: &'a [Conclusion],
}

#[derive(Serialize)]
struct Resolver {
    nameservers: Vec<String>,
    search: Vec<String>,
    ndots: u32,
    timeout_seconds: u32,
    attempts: u32,
}

#[derive(Serialize)]
struct Server<'a> {
    address: SocketAddr,
    service: bool,
    backend_of: &'a [SocketAddr],
    drained: bool,
    udp: Counts<'a>,
    tcp: Option<Counts<'a>>,
}

#[derive(Serialize)]
struct Unreadable<'a> {
    source: &'static str,
    reason: &'a str,
}

/// One JSON object on one line.
///
/// # Errors
/// Those of the serializer.
pub fn json(report: &Report<'_>) -> serde_json::Result<String> {
    let measured = report.measured;
    let servers = measured.measurements.iter().map(|one| Server {
        address: one.target.address,
        service: one.target.service,
        backend_of: &one.target.backend_of,
        drained: one.target.drained,
        udp: Counts::of(&one.udp),
        tcp: (one.tcp.sent() > 0).then(|| Counts::of(&one.tcp)),
    });
    let unreadable = report
        .unreadable
        .iter()
        .map(|(source, reason)| Unreadable { source: source.as_str(), reason });
    let resolver = report.resolver.map(|resolver| Resolver {
        nameservers: resolver.nameservers.iter().map(|server| server.address.to_string()).collect(),
        search: resolver.search.iter().map(ToString::to_string).collect(),
        ndots: resolver.ndots,
        timeout_seconds: resolver.timeout_seconds,
        attempts: resolver.attempts,
    });
    let json = Json {
        schema: json::SCHEMA,
        kind: "query-report",
        name: escape(report.typed.as_bytes()),
        qtype: measured.question.qtype,
        owner: report.owner,
        netns: report.netns.map(|path| escape(path.as_os_str().as_encoded_bytes())),
        resolver,
        steps: &measured.steps,
        question: &measured.question,
        servers: servers.collect(),
        not_asked: report.not_asked,
        unreadable: unreadable.collect(),
        broken: report.conclusions.iter().any(Conclusion::is_fault),
        conclusions: report.conclusions,
    };
    Ok(serde_json::to_string(&json)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dns::Answer,
        query::{Exchange, Measurement, Target, conclude},
    };

    fn measured() -> Measured {
        let address: SocketAddr = "10.96.0.10:53".parse().unwrap();
        let answer = Answer { rcode: "NOERROR".to_owned(), truncated: false, records: 1 };
        let answered = Outcome::Answered { answer: answer.clone(), seconds: 0.0125 };
        let exchange = |outcome| Exchange { outcome, discarded: Vec::new() };
        let question = Question { name: "a.b".parse().unwrap(), qtype: QType::A };
        Measured {
            steps: vec![Step {
                name: question.name.clone(),
                server: Some(address),
                answer: Some(answer),
            }],
            question,
            measurements: vec![Measurement {
                target: Target { address, backend_of: Vec::new(), service: false, drained: false },
                udp: Tries(vec![
                    exchange(answered),
                    exchange(Outcome::TimedOut),
                    exchange(Outcome::Failed("odd\x1b".to_owned())),
                ]),
                tcp: Tries::default(),
                tcp_wanted: false,
            }],
        }
    }

    fn with_report<T>(run: impl FnOnce(&Report<'_>) -> T) -> T {
        let measured = measured();
        let conclusions = conclude(&measured.measurements);
        run(&Report {
            typed: "a.b",
            owner: None,
            netns: Some(Path::new("/run/netns/x\x1b")),
            resolver: None,
            measured: &measured,
            not_asked: 2,
            unreadable: &[(Source::Nftables, "refused".to_owned())],
            conclusions: &conclusions,
        })
    }

    #[test]
    fn the_table_tells_counts_times_and_conclusions() {
        let text = with_report(|report| text(report, &Terminal::PLAIN));
        assert!(text.starts_with("a.b A from /run/netns/x\\027\n"), "{text}");
        assert!(text.contains("a.b.  NOERROR (1 records) from 10.96.0.10:53\n"), "{text}");
        assert!(
            text.contains("udp      3        1   12.50   12.50 1 NOERROR, 1 timed out, 1 failed")
        );
        assert!(text.contains("backends in nftables are not known: refused"), "{text}");
        assert!(text.contains("2 further servers were not asked"), "{text}");
        assert!(text.contains("answers-missing\n  10.96.0.10:53 answered only 1 of 3"), "{text}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn machines_get_one_line_with_every_key() {
        let line = with_report(|report| json(report).unwrap());
        assert_eq!(line.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["kind"], "query-report");
        assert_eq!(value["question"]["name"], "a.b.");
        assert_eq!(value["servers"][0]["udp"]["answered"], 1);
        assert_eq!(value["servers"][0]["udp"]["rcodes"]["NOERROR"], 1);
        assert!(value["servers"][0]["tcp"].is_null() && value["owner"].is_null());
        assert_eq!(value["broken"], true);
        assert_eq!(value["conclusions"][0]["code"], "answers-missing");
    }
}
