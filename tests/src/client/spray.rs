//! `lab client spray`: one datagram to each of many ports, as fast as it goes.
//! Every one is a flow of its own; nobody is expected to answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::report::Report;

/// Where to, and how many.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct Args {
    /// Address to send to.
    #[arg(long)]
    pub server: IpAddr,
    /// Number of flows.
    #[arg(long)]
    pub flows: u32,
}

/// No port below this one, DNS least of all.
const FIRST_PORT: u16 = 10_000;
const PORTS: u32 = 50_000;

/// Send; the report counts datagrams sent and refused.
pub fn run(args: &Args) -> Result<Report> {
    let mut report = Report::default();
    let mut left = args.flows;
    while left > 0 {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let ports = left.min(PORTS);
        for port in (FIRST_PORT..).take(usize::try_from(ports)?) {
            report.sent += 1;
            if socket.send_to(b"x", SocketAddr::new(args.server, port)).is_err() {
                report.send_errors += 1;
            }
        }
        left -= ports;
    }
    Ok(report)
}
