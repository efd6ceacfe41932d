//! `lab client pair`: A and AAAA at once from one socket with one `sendmmsg`,
//! as resolvers send them, to one service address or to two.

use std::collections::HashMap;
use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use serde::{Deserialize, Serialize};

use super::message::{self, QueryType};
use super::query::PORT;
use super::report::{Report, Unanswered};
use super::socket::source_address;

/// What to ask, and whom.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct Args {
    /// Server for A, and for AAAA too when no second one is given.
    #[arg(long)]
    pub server: IpAddr,
    /// Server for AAAA.
    #[arg(long)]
    pub second_server: Option<IpAddr>,
    /// Name to ask for.
    #[arg(long, default_value = crate::lab::server::NAME)]
    pub name: String,
    /// Pairs, each from a socket of its own, all at once.
    #[arg(long, default_value_t = 1)]
    pub pairs: u16,
    /// How long to wait for the answers, milliseconds.
    #[arg(long, default_value_t = 1500)]
    pub timeout_ms: u64,
}

impl Args {
    /// One pair to `server`.
    #[must_use]
    pub fn new(server: impl Into<IpAddr>) -> Self {
        Self {
            server: server.into(),
            second_server: None,
            name: crate::lab::server::NAME.into(),
            pairs: 1,
            timeout_ms: 1500,
        }
    }
}

/// AAAA ids have the top bit set, so that a pair's ids differ in one bit.
const AAAA_ID: u16 = 0x8000;

/// Send all pairs, read all sockets until everything is answered or the time
/// is up.
pub fn run(args: &Args) -> Result<Report> {
    let servers = [
        SocketAddr::new(args.server, PORT),
        SocketAddr::new(args.second_server.unwrap_or(args.server), PORT),
    ];
    let mut report = Report::default();
    let mut sockets = Vec::new();
    for pair in 0..args.pairs {
        let socket = send(&args.name, servers, pair)?;
        report.sent += 2;
        sockets.push(socket);
    }
    let deadline = Instant::now() + Duration::from_millis(args.timeout_ms);
    while sockets.iter().any(|socket| !socket.waiting.is_empty()) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let mut ready: Vec<_> = sockets
            .iter()
            .map(|socket| PollFd::new(socket.udp.as_fd(), PollFlags::POLLIN))
            .collect();
        poll(&mut ready, PollTimeout::try_from(left)?)?;
        for socket in &mut sockets {
            socket.read(&mut report);
        }
    }
    for socket in sockets {
        report.unanswered.extend(socket.waiting.into_values());
    }
    report.unanswered.sort();
    Ok(report)
}

/// One socket with its pair.
pub(super) struct PairSocket {
    udp: UdpSocket,
    waiting: HashMap<u16, Unanswered>,
}

/// Ask for A and AAAA of `name` from a new socket.
pub(super) fn send(name: &str, servers: [SocketAddr; 2], pair: u16) -> Result<PairSocket> {
    let any: IpAddr = match servers[0].ip() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let udp = UdpSocket::bind((any, 0))?;
    udp.set_nonblocking(true)?;
    let client = SocketAddr::new(source_address(servers[0].ip()), udp.local_addr()?.port());
    let questions = [(pair, QueryType::A), (pair | AAAA_ID, QueryType::Aaaa)];
    let mut messages = Vec::new();
    let mut waiting = HashMap::new();
    for ((id, kind), server) in questions.into_iter().zip(servers) {
        messages.push(message::query(id, name, kind, None)?);
        waiting.insert(id, Unanswered { client, server, id, kind, send_error: None });
    }
    let slices: Vec<_> = messages.iter().map(|message| [IoSlice::new(message)]).collect();
    let addresses = servers.map(|server| Some(SockaddrStorage::from(server)));
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(slices.len(), None);
    let sent = sendmmsg(udp.as_raw_fd(), &mut headers, &slices, addresses, [], MsgFlags::empty())?;
    ensure!(sent.count() == 2, "the kernel did not take both queries of a pair");
    Ok(PairSocket { udp, waiting })
}

impl AsFd for PairSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.udp.as_fd()
    }
}

impl PairSocket {
    /// Whether an answer is still to come.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What got no answer.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = Unanswered> {
        self.waiting.drain().map(|(_, query)| query)
    }

    /// Take every answer that is there.
    pub(super) fn read(&mut self, report: &mut Report) {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = self.udp.recv_from(&mut buffer) {
            let Some((id, rcode)) = message::response(&buffer[..length]) else {
                continue;
            };
            match self.waiting.get(&id) {
                Some(query) if query.server == from => {
                    self.waiting.remove(&id);
                    report.answered += 1;
                    *report.rcodes.entry(rcode.into()).or_default() += 1;
                }
                _ => report.alien += 1,
            }
        }
    }
}
