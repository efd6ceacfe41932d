//! `lab client query`: asks one server N times and keeps the books.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use super::message::{self, QueryType};
use super::report::{Latency, Report, Unanswered};

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
    /// Pause between two queries, milliseconds.
    #[arg(long, default_value_t = 0)]
    pub interval_ms: u64,
    /// How long to wait for an answer, milliseconds.
    #[arg(long, default_value_t = 1000)]
    pub timeout_ms: u64,
    /// Source port; the kernel's choice when 0.
    #[arg(long, default_value_t = 0)]
    pub source_port: u16,
    /// A new socket, and so a new source port, for every query.
    #[arg(long)]
    pub fresh_port: bool,
    /// Connect the socket: errors such as "port unreachable" come back.
    #[arg(long)]
    pub connected: bool,
    /// Send everything at once, then wait for all answers.
    #[arg(long)]
    pub burst: bool,
    /// Receive buffer size to ask the kernel for, bytes.
    #[arg(long)]
    pub receive_buffer: Option<usize>,
    /// Do not read for this long after a burst, milliseconds.
    #[arg(long, default_value_t = 0)]
    pub read_after_ms: u64,
}

impl Args {
    /// `count` queries to `server`, one after the other.
    #[must_use]
    pub fn new(server: impl Into<IpAddr>, count: u16) -> Self {
        Self {
            server: server.into(),
            name: crate::lab::server::NAME.into(),
            kind: QueryType::A,
            count,
            interval_ms: 0,
            timeout_ms: 1000,
            source_port: 0,
            fresh_port: false,
            connected: false,
            burst: false,
            receive_buffer: None,
            read_after_ms: 0,
        }
    }
}

/// DNS over UDP.
pub(super) const PORT: u16 = 53;

/// Ask, wait, count.
pub fn run(args: &Args) -> Result<Report> {
    let mut books = Books::default();
    if args.burst {
        burst(args, &mut books)?;
    } else {
        one_by_one(args, &mut books)?;
    }
    Ok(books.close())
}

fn one_by_one(args: &Args, books: &mut Books) -> Result<()> {
    let mut socket = open(args)?;
    for id in 0..args.count {
        if id > 0 {
            if args.fresh_port {
                socket = open(args)?;
            }
            sleep(Duration::from_millis(args.interval_ms));
        }
        if books.send(&socket, args, id)? {
            books.wait(&socket, args, Instant::now() + Duration::from_millis(args.timeout_ms))?;
        }
    }
    Ok(())
}

fn burst(args: &Args, books: &mut Books) -> Result<()> {
    let socket = open(args)?;
    for id in 0..args.count {
        books.send(&socket, args, id)?;
    }
    sleep(Duration::from_millis(args.read_after_ms));
    books.wait(&socket, args, Instant::now() + Duration::from_millis(args.timeout_ms))
}

/// A bound (and connected, if asked for) socket.
fn open(args: &Args) -> Result<UdpSocket> {
    let any: IpAddr = match args.server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let local = SocketAddr::new(any, args.source_port);
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, None)?;
    if let Some(bytes) = args.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(&local.into()).with_context(|| format!("cannot bind {local}"))?;
    if args.connected {
        socket.connect(&SocketAddr::new(args.server, PORT).into())?;
    }
    Ok(socket.into())
}

/// The address this machine's packets to `server` carry as their source; a
/// second, connected socket knows it, and no packet is sent.
pub(super) fn source_address(server: IpAddr) -> Result<IpAddr> {
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let probe = UdpSocket::bind((any, 0))?;
    probe.connect((server, PORT)).with_context(|| format!("no route to {server}"))?;
    Ok(probe.local_addr()?.ip())
}

/// Queries that wait, and what became of the others.
#[derive(Default)]
struct Books {
    waiting: HashMap<u16, (Instant, Unanswered)>,
    rtts: Vec<f64>,
    report: Report,
}

impl Books {
    /// Send one query; whether the kernel took it.
    fn send(&mut self, socket: &UdpSocket, args: &Args, id: u16) -> Result<bool> {
        let server = SocketAddr::new(args.server, PORT);
        let query = message::query(id, &args.name, args.kind)?;
        let client = SocketAddr::new(source_address(args.server)?, socket.local_addr()?.port());
        let unanswered = Unanswered { client, server, id, kind: args.kind };
        let start = Instant::now();
        let sent =
            if args.connected { socket.send(&query) } else { socket.send_to(&query, server) };
        self.report.sent += 1;
        match sent {
            Ok(_) => {
                self.waiting.insert(id, (start, unanswered));
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                // The error belongs to an earlier query; this one was not sent
                // at all and does not count.
                self.report.sent -= 1;
                Ok(false)
            }
            Err(_) => {
                self.report.send_errors += 1;
                self.report.unanswered.push(unanswered);
                Ok(false)
            }
        }
    }

    /// Read until nothing waits any more or the time is up.
    fn wait(&mut self, socket: &UdpSocket, args: &Args, deadline: Instant) -> Result<()> {
        let mut buffer = [0; 1500];
        while !self.waiting.is_empty() {
            let Some(left) =
                deadline.checked_duration_since(Instant::now()).filter(|d| !d.is_zero())
            else {
                break;
            };
            socket.set_read_timeout(Some(left))?;
            match socket.recv_from(&mut buffer) {
                Ok((length, from)) => self.receive(&buffer[..length], from, args),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    self.report.refused += 1;
                    break;
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    break;
                }
                Err(error) => return Err(error).context("cannot receive"),
            }
        }
        self.report.unanswered.extend(self.waiting.drain().map(|(_, (_, query))| query));
        Ok(())
    }

    fn receive(&mut self, bytes: &[u8], from: SocketAddr, args: &Args) {
        let end = Instant::now();
        if from.ip() != args.server {
            self.report.alien += 1;
            return;
        }
        let Some((id, rcode)) = message::response(bytes) else {
            return;
        };
        if let Some((start, _)) = self.waiting.remove(&id) {
            self.report.answered += 1;
            *self.report.rcodes.entry(rcode.into()).or_default() += 1;
            self.rtts.push((end - start).as_secs_f64());
        }
    }

    fn close(mut self) -> Report {
        self.report.rtt = Latency::of(self.rtts);
        self.report.unanswered.sort();
        self.report
    }
}
