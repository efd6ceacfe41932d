//! `dnsprobe trace -o coredns`: the query log of the servers here, without asking
//! them for one. Each line is held against what its client sent and got.

use std::collections::BTreeMap;

use anyhow::Result;

use super::stage::{LOST_AFTER, Stage};
use super::{Kernels, Outcome, Scenario};
use crate::client::message::{self, QueryType};
use crate::client::query::Args;
use crate::client::report::Report;
use crate::client::tcp;
use crate::lab::cast::{API, CART, COREDNS_0, COREDNS_1, VICTIM, WEB_V6, WORKER};
use crate::lab::dnsprobe::Mode;
use crate::lab::server::{MISSING_NAME, NAME};
use crate::lab::spec::Spec;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "coredns-log",
    about: "the servers' query log in the kernel's view: EDNS, NXDOMAIN, IPv6 and TCP",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const QUERIES: u16 = 6;
/// An A record behind a name: type, class, time to live, length, address.
const A_RECORD: usize = 14;
/// The same with an IPv6 address.
const AAAA_RECORD: usize = 26;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let server = COREDNS_0.address();
    let plain = Args::new(server, QUERIES);
    let edns = Args { edns: Some(1232), fresh_port: true, ..plain.clone() };
    let missing =
        Args { name: MISSING_NAME.to_uppercase(), kind: QueryType::Aaaa, ..plain.clone() };
    let v6 = Args { kind: QueryType::Aaaa, ..Args::new(COREDNS_1.address_v6(), QUERIES) };
    let by_tcp = tcp::Args::new(server, QUERIES, tcp::Style::OneConnection);

    let watch = stage.watch(Mode::ServerLog, LOST_AFTER)?;
    let mut books = Books::default();
    for (spec, args, expected) in [
        (&CART, &plain, Fields::new(&plain, "NOERROR", Some(A_RECORD))?),
        (&API, &edns, Fields::new(&edns, "NOERROR", None)?),
        (&VICTIM, &missing, Fields::new(&missing, "NXDOMAIN", Some(0))?),
        (&WEB_V6, &v6, Fields::new(&v6, "NOERROR", Some(AAAA_RECORD))?),
    ] {
        let report = stage.programs.query(stage.pod(spec)?, args)?.report()?;
        books.asked(&client(spec, args), expected, &report);
    }
    let report = stage.programs.tcp(stage.pod(&WORKER)?, &by_tcp)?.report()?;
    books.asked(&WORKER.address().to_string(), Fields::over_tcp(&plain)?, &report);
    Ok(Outcome::default()
        .checked("the log and the clients' books", books.problems(&watch.finish_lines()?)))
}

/// A client's address as a log has it.
fn client(spec: &Spec, args: &Args) -> String {
    if args.server.is_ipv6() {
        format!("[{}]", spec.address_v6())
    } else {
        spec.address().to_string()
    }
}

/// What a line must say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fields {
    /// What stands in quotes.
    query: String,
    rcode: String,
    /// Size of the answer, or `-`.
    size: String,
}

impl Fields {
    /// `record`: length of the one record in the answer behind its name, 0 for none;
    /// `None` where the size cannot be known.
    fn new(args: &Args, rcode: &str, record: Option<usize>) -> Result<Self> {
        let bytes = message::query(0, &args.name, args.kind, args.edns)?.len();
        let name = args.name.to_lowercase();
        let kind = match args.kind {
            QueryType::A => "A",
            QueryType::Aaaa => "AAAA",
            QueryType::Txt => "TXT",
        };
        let size = match record {
            None => "-".to_owned(),
            Some(0) => bytes.to_string(),
            Some(record) => (bytes + name.len() + 1 + record).to_string(),
        };
        let buffer = args.edns.unwrap_or(512);
        let query = format!("{kind} IN {name} udp {bytes} false {buffer}");
        Ok(Self { query, rcode: rcode.to_owned(), size })
    }

    fn over_tcp(args: &Args) -> Result<Self> {
        debug_assert_eq!(args.name, NAME);
        let udp = Self::new(args, "NOERROR", Some(A_RECORD))?;
        let query = udp.query.replace(" udp ", " tcp ").replace(" 512", " 65535");
        Ok(Self { query, ..udp })
    }
}

/// Lines to come, by client and what they say.
#[derive(Default)]
struct Books {
    lines: BTreeMap<(String, Fields), u64>,
    /// The longest any client waited.
    longest_seconds: f64,
}

impl Books {
    fn asked(&mut self, client: &str, expected: Fields, report: &Report) {
        *self.lines.entry((client.to_owned(), expected)).or_default() += report.answered;
        let longest = report.rtt.map_or(0.0, |rtt| rtt.max);
        self.longest_seconds = self.longest_seconds.max(longest);
    }

    fn problems(&self, lines: &[String]) -> Vec<String> {
        let mut told: BTreeMap<(String, Fields), u64> = BTreeMap::new();
        let mut problems = Vec::new();
        for line in lines {
            match read(line) {
                Some(line) if line.flags.starts_with("qr,") && line.flags.contains("rd") => {
                    if line.seconds <= 0.0 || line.seconds > self.longest_seconds {
                        problems.push(format!("an impossible duration: {line:?}"));
                    }
                    *told.entry((line.client, line.fields)).or_default() += 1;
                }
                _ => problems.push(format!("not a line of the log: {line}")),
            }
        }
        if self.lines.values().any(|count| *count != u64::from(QUERIES)) {
            problems.push(format!("not every query was answered: {:?}", self.lines));
        }
        if told != self.lines {
            problems.push(format!("the log has {told:?}, the clients {:?}", self.lines));
        }
        problems
    }
}

#[derive(Debug)]
struct Line {
    client: String,
    fields: Fields,
    flags: String,
    seconds: f64,
}

/// `[INFO] CLIENT:PORT - ID "QUERY" RCODE FLAGS SIZE DURATIONs`
fn read(line: &str) -> Option<Line> {
    let (from, rest) = line.strip_prefix("[INFO] ")?.split_once(" - ")?;
    let (client, port) = from.rsplit_once(':')?;
    let (id, rest) = rest.split_once(" \"")?;
    let (query, rest) = rest.split_once("\" ")?;
    let [rcode, flags, size, duration] = rest.split(' ').collect::<Vec<_>>().try_into().ok()?;
    port.parse::<u16>().ok().zip(id.parse::<u16>().ok())?;
    Some(Line {
        client: client.to_owned(),
        fields: Fields { query: query.to_owned(), rcode: rcode.to_owned(), size: size.to_owned() },
        flags: flags.to_owned(),
        seconds: duration.strip_suffix('s')?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_line_is_read() {
        let line = read(
            "[INFO] [::1]:50759 - 29008 \"A IN example.org. udp 41 false 4096\" NOERROR \
             qr,rd,ra,ad 68 0.037990251s",
        )
        .unwrap();
        assert_eq!(line.client, "[::1]");
        assert_eq!(line.fields.query, "A IN example.org. udp 41 false 4096");
        assert_eq!((line.fields.size.as_str(), line.seconds), ("68", 0.037_990_251));
        assert!(read("nothing").is_none());
    }
}
