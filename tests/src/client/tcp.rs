//! `lab client tcp`: asks one server over TCP in one of the ways that resolvers
//! have, and keeps the books.

use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::message::{self, QueryType};
use super::query::PORT;
use super::report::{Latency, Report, Unanswered};

/// How queries are put on connections, and how they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// A connection for each query; length and message in two pieces of one
    /// call, as glibc writes them.
    PerQuery,
    /// One connection, the next query after the answer; length and message in
    /// one piece, as Go writes them.
    OneConnection,
    /// One connection, all queries in one call before the first answer is read.
    Pipelined,
    /// One connection; a call for the length, a call for the message.
    TwoCalls,
    /// One connection; the first call ends within the message's header.
    SplitHeader,
}

/// What to ask, and how.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct Args {
    /// Server to ask.
    #[arg(long)]
    pub server: IpAddr,
    /// Name to ask for.
    #[arg(long, default_value = crate::lab::server::NAME)]
    pub name: String,
    /// Question type.
    #[arg(long, value_enum, default_value = "A")]
    pub kind: QueryType,
    /// Number of queries.
    #[arg(long, default_value_t = 1)]
    pub count: u16,
    /// How to ask.
    #[arg(long, value_enum, default_value = "per-query")]
    pub style: Style,
    /// How long to wait for a connection, and for an answer, milliseconds.
    #[arg(long, default_value_t = 1000)]
    pub timeout_ms: u64,
}

impl Args {
    /// `count` queries to `server`.
    #[must_use]
    pub fn new(server: impl Into<IpAddr>, count: u16, style: Style) -> Self {
        Self {
            server: server.into(),
            name: crate::lab::server::NAME.into(),
            kind: QueryType::A,
            count,
            style,
            timeout_ms: 1000,
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// Ask, wait, count. A connection that is not made counts in `send_errors`: no
/// query was sent on it.
pub fn run(args: &Args) -> Result<Report> {
    let mut client = Client { args, report: Report::default(), rtts: Vec::new() };
    match args.style {
        Style::PerQuery => {
            for number in 0..args.count {
                client.on_one_connection(number..number + 1, 1)?;
            }
        }
        Style::Pipelined => client.on_one_connection(0..args.count, args.count)?,
        _ => client.on_one_connection(0..args.count, 1)?,
    }
    client.report.rtt = Latency::of(client.rtts);
    client.report.unanswered.sort();
    Ok(client.report)
}

struct Client<'a> {
    args: &'a Args,
    report: Report,
    rtts: Vec<f64>,
}

impl Client<'_> {
    /// One connection; `at_once` queries before the first answer is read.
    fn on_one_connection(&mut self, numbers: std::ops::Range<u16>, at_once: u16) -> Result<()> {
        let server = SocketAddr::new(self.args.server, PORT);
        let Ok(mut stream) = TcpStream::connect_timeout(&server, self.args.timeout()) else {
            self.report.send_errors += 1;
            return Ok(());
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.args.timeout()))?;
        let client = stream.local_addr()?;
        let mut next = numbers.start;
        while next < numbers.end {
            let ids: Vec<u16> = (next..numbers.end.min(next + at_once)).collect();
            next += at_once;
            let messages = ids
                .iter()
                .map(|id| message::query(*id, &self.args.name, self.args.kind, None))
                .collect::<Result<Vec<_>>>()?;
            let start = Instant::now();
            write(&mut stream, self.args.style, &messages).context("cannot write")?;
            self.report.sent += messages.len() as u64;
            let mut waiting = ids;
            while !waiting.is_empty() {
                let Ok(answer) = read(&mut stream) else { break };
                let id = message::id(&answer);
                let known = waiting.iter().position(|waits| *waits == id);
                let (Some(index), Some((_, rcode))) = (known, message::response(&answer)) else {
                    continue;
                };
                waiting.remove(index);
                self.report.answered += 1;
                *self.report.rcodes.entry(rcode.into()).or_default() += 1;
                self.rtts.push(start.elapsed().as_secs_f64());
            }
            let kind = self.args.kind;
            let lost = waiting.into_iter().map(|id| Unanswered {
                client,
                server,
                id,
                kind,
                send_error: None,
            });
            let before = self.report.unanswered.len();
            self.report.unanswered.extend(lost);
            if self.report.unanswered.len() > before {
                break;
            }
        }
        Ok(())
    }
}

fn write(stream: &mut TcpStream, style: Style, messages: &[Vec<u8>]) -> Result<()> {
    let mut framed = Vec::new();
    for message in messages {
        let length = u16::try_from(message.len())?.to_be_bytes();
        match style {
            Style::PerQuery => {
                let pieces = [IoSlice::new(&length), IoSlice::new(message)];
                let written = stream.write_vectored(&pieces)?;
                ensure!(written == length.len() + message.len(), "only a part was taken");
            }
            Style::TwoCalls => {
                stream.write_all(&length)?;
                stream.write_all(message)?;
            }
            Style::SplitHeader => {
                let all = [&length[..], message].concat();
                stream.write_all(&all[..7])?;
                // The server has to see the first part by itself.
                std::thread::sleep(Duration::from_millis(20));
                stream.write_all(&all[7..])?;
            }
            Style::OneConnection | Style::Pipelined => {
                framed.extend_from_slice(&length);
                framed.extend_from_slice(message);
            }
        }
    }
    Ok(stream.write_all(&framed)?)
}

/// The next message: its length, then the rest, as most resolvers read.
fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}
