//! `lab client steady`: A/AAAA pairs at an even rate for a given time, each
//! pair from a socket of its own as resolvers do it. After a long stall it does
//! not catch up, so that a busy machine makes it slower and not the servers'
//! buffers full.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use super::pair::{self, PairSocket};
use super::query::PORT;
use super::report::{Latency, Report};

/// What to ask, whom, how often and how long.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct Args {
    /// Server to ask.
    #[arg(long)]
    pub server: IpAddr,
    /// Names to ask for in turn, separated by commas.
    #[arg(long, default_value = crate::lab::server::NAME)]
    pub names: String,
    /// Pairs per second.
    #[arg(long, default_value_t = 1.0)]
    pub rate: f64,
    /// How long to ask, seconds.
    #[arg(long, default_value_t = 1)]
    pub seconds: u64,
    /// How long to wait for an answer, milliseconds.
    #[arg(long, default_value_t = 5000)]
    pub timeout_ms: u64,
}

/// Ids go up to here and start again; the bit above tells AAAA from A.
const LAST_ID: u16 = 0x7fff;
/// What a stall may make it send at once afterwards.
const CATCHES_UP: Duration = Duration::from_millis(100);
/// Queries without an answer that are told one by one.
const TOLD: usize = 100;

/// Ask until the time is up, wait for the last answers, count.
pub fn run(args: &Args) -> Result<Report> {
    ensure!(args.rate > 0.0, "--rate must be above 0");
    let server = SocketAddr::new(args.server, PORT);
    let names: Vec<&str> = args.names.split(',').collect();
    let pause = Duration::from_secs_f64(1.0 / args.rate);
    let timeout = Duration::from_millis(args.timeout_ms);
    let mut report = Report::default();
    let mut rtts = Vec::new();
    let mut open: VecDeque<(Instant, PairSocket)> = VecDeque::new();
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let (mut id, mut next) = (0, Instant::now());
    loop {
        let now = Instant::now();
        let asking = now < end;
        if asking && now >= next {
            let name = names[usize::from(id) % names.len()];
            open.push_back((now + timeout, pair::send(name, [server; 2], id)?));
            report.sent += 2;
            id = if id == LAST_ID { 0 } else { id + 1 };
            next = (next + pause).max(now - CATCHES_UP);
        }
        if !asking && open.is_empty() {
            break;
        }
        let until = if asking { next } else { now + timeout };
        wait(&open, until.saturating_duration_since(Instant::now()))?;
        let now = Instant::now();
        open.retain_mut(|(deadline, socket)| {
            let before = report.answered;
            socket.read(&mut report);
            let rtt = now.saturating_duration_since(*deadline - timeout).as_secs_f64();
            rtts.extend((before..report.answered).map(|_| rtt));
            let waits = socket.waits() && now < *deadline;
            if !waits {
                let left = TOLD.saturating_sub(report.unanswered.len());
                report.unanswered.extend(socket.give_up().take(left));
            }
            waits
        });
    }
    report.unanswered.sort();
    report.rtt = Latency::of(rtts);
    Ok(report)
}

/// Until something can be read or `at_most` is over.
fn wait(open: &VecDeque<(Instant, PairSocket)>, at_most: Duration) -> Result<()> {
    /// A timeout in whole milliseconds would make every pause too long.
    const GRAIN: Duration = Duration::from_millis(1);
    let mut ready: Vec<_> =
        open.iter().map(|(_, socket)| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
    if at_most < GRAIN {
        std::thread::sleep(at_most);
    }
    let timeout = if at_most < GRAIN { Duration::ZERO } else { at_most };
    poll(&mut ready, PollTimeout::try_from(timeout)?)?;
    Ok(())
}
