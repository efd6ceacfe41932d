//! `lab client query`: asks one server N times and keeps the books.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::books::Books;
use super::message::QueryType;
use super::report::Report;
use super::socket::{self, Via};

/// What to ask, and how.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct Args {
    /// Server to ask.
    #[arg(long)]
    pub server: IpAddr,
    /// Name to ask for.
    #[arg(long, default_value = crate::lab::server::NAME)]
    pub name: String,
    /// Put a label of its own in front of the name in every query.
    #[arg(long)]
    pub distinct_names: bool,
    /// Question type.
    #[arg(long, value_enum, default_value = "A")]
    pub kind: QueryType,
    /// Offer EDNS with answers of up to so many bytes.
    #[arg(long)]
    pub edns: Option<u16>,
    /// Number of queries.
    #[arg(long, default_value_t = 1)]
    pub count: u16,
    /// Give all queries this DNS id; else they count from 0.
    #[arg(long)]
    pub same_id: Option<u16>,
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
    /// Use an IPv6 socket for an IPv4 server (`::ffff:a.b.c.d`).
    #[arg(long)]
    pub mapped: bool,
    /// The system call that sends.
    #[arg(long, value_enum, default_value = "send")]
    pub via: Via,
    /// Have the kernel tell of lost packets (`IP_RECVERR`), as glibc's
    /// resolver does.
    #[arg(long)]
    pub receive_errors: bool,
    /// Never wait for room in the send buffer.
    #[arg(long)]
    pub nonblocking: bool,
    /// Send everything at once, then wait for all answers.
    #[arg(long)]
    pub burst: bool,
    /// Receive buffer size to ask the kernel for, bytes.
    #[arg(long)]
    pub receive_buffer: Option<usize>,
    /// Send buffer size to ask the kernel for, bytes.
    #[arg(long)]
    pub send_buffer: Option<usize>,
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
            distinct_names: false,
            kind: QueryType::A,
            edns: None,
            count,
            same_id: None,
            interval_ms: 0,
            timeout_ms: 1000,
            source_port: 0,
            fresh_port: false,
            connected: false,
            mapped: false,
            via: Via::Send,
            receive_errors: false,
            nonblocking: false,
            burst: false,
            receive_buffer: None,
            send_buffer: None,
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
    let mut socket = socket::open(args)?;
    for number in 0..args.count {
        if number > 0 {
            if args.fresh_port {
                socket = socket::open(args)?;
            }
            sleep(Duration::from_millis(args.interval_ms));
        }
        if books.send(&socket, args, number..number + 1)? > 0 {
            books.wait(&socket, args, Instant::now() + Duration::from_millis(args.timeout_ms))?;
        }
    }
    Ok(())
}

fn burst(args: &Args, books: &mut Books) -> Result<()> {
    let socket = socket::open(args)?;
    books.send(&socket, args, 0..args.count)?;
    sleep(Duration::from_millis(args.read_after_ms));
    books.wait(&socket, args, Instant::now() + Duration::from_millis(args.timeout_ms))
}
