//! Queries whose names say who asks them, so that whatever tells of them can be
//! compared with the truth: `KEY.NUMBER.attribution.test.`

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};

use super::message::{self, QueryType};
use super::query::PORT;
use super::report::Report;
use crate::lab::pod::enter_cgroup;
use crate::lab::respond;

/// What to ask, whom, how often.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct Args {
    /// First label of every name.
    #[arg(long)]
    pub key: String,
    /// Server to ask.
    #[arg(long)]
    pub server: IpAddr,
    /// How many queries.
    #[arg(long, default_value_t = 1)]
    pub count: u32,
    /// From one query to the next, milliseconds.
    #[arg(long, default_value_t = 0)]
    pub pause_ms: u64,
    /// How long to wait for each answer, milliseconds.
    #[arg(long, default_value_t = 1000)]
    pub timeout_ms: u64,
    /// How long to stay after the last query, milliseconds.
    #[arg(long, default_value_t = 0)]
    pub linger_ms: u64,
    /// In a network namespace of its own, with a server of its own on 127.0.0.1.
    #[arg(long)]
    pub own_network: bool,
    /// Cgroup to enter before anything else.
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,
}

/// Ask and count.
pub fn run(args: &Args) -> Result<Report> {
    if let Some(cgroup) = &args.cgroup {
        enter_cgroup(cgroup)?;
    }
    let mut server = SocketAddr::new(args.server, PORT);
    if args.own_network {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot have a network namespace")?;
        loopback_up()?;
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
        thread::spawn(move || respond::serve(&socket, &respond::Args::default()));
        server = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT);
    }
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(server)?;
    let mut report = Report::default();
    let mut next = Instant::now();
    for number in 0..args.count {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next += Duration::from_millis(args.pause_ms);
        let name = format!("{}.{number}.attribution.test.", args.key);
        let id = u16::try_from(number % 65536)?;
        let query = message::query(id, &name, QueryType::A, None)?;
        socket.send(&query)?;
        report.sent += 1;
        let deadline = Instant::now() + Duration::from_millis(args.timeout_ms);
        let mut buffer = [0; 1500];
        while let Some(left) =
            deadline.checked_duration_since(Instant::now()).filter(|t| !t.is_zero())
        {
            socket.set_read_timeout(Some(left))?;
            // A refusal or the end of the time: either way there is no answer.
            let Ok(length) = socket.recv(&mut buffer) else { break };
            if message::answers(&buffer[..length], &query) {
                report.answered += 1;
                break;
            }
        }
    }
    thread::sleep(Duration::from_millis(args.linger_ms));
    Ok(report)
}

/// A new namespace has its loopback device down.
fn loopback_up() -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: zeroes are a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l'.cast_signed();
    request.ifr_name[1] = b'o'.cast_signed();
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: the request is of the type that this number takes, and outlives
    // the call.
    let failed = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) };
    if failed < 0 {
        return Err(std::io::Error::last_os_error()).context("cannot set the loopback device up");
    }
    Ok(())
}
