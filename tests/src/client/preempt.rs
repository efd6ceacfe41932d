//! `lab client preempt`: one thread asks as fast as it is answered; another, which
//! goes before every other task of the system, wakes up again and again in the middle
//! of that and asks too. So the kernel often takes the processor from the first one
//! while it is sending.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nix::libc;
use serde::{Deserialize, Serialize};

use super::message::{self, QueryType};
use super::query::PORT;
use super::report::Report;

/// Whom, and how often.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct Args {
    /// Server to ask.
    #[arg(long)]
    pub server: IpAddr,
    /// Queries of each thread.
    #[arg(long)]
    pub queries: u16,
    /// Microseconds between two queries of the thread that goes first.
    #[arg(long)]
    pub every_us: u64,
}

/// How long to wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Queries of the thread that goes first that may wait for their answers, so that no
/// buffer overflows.
const OPEN: u64 = 16;

/// Ask with both threads until each is through.
pub fn run(args: &Args) -> Result<Report> {
    let server = SocketAddr::new(args.server, PORT);
    let queries = args.queries;
    let pause = Duration::from_micros(args.every_us);
    let first = thread::spawn(move || -> Result<Report> {
        go_first()?;
        let mut asker = Asker::new(server)?;
        for id in 0..queries {
            thread::sleep(pause);
            asker.ask(id)?;
            asker.read(OPEN)?;
        }
        asker.read(0)?;
        Ok(asker.report)
    });
    let mut asker = Asker::new(server)?;
    for id in 0..queries {
        asker.ask(id)?;
        asker.read(0)?;
    }
    let first = first.join().map_err(|_| anyhow!("the other thread is gone"))??;
    let mut report = asker.report;
    report.sent += first.sent;
    report.answered += first.answered;
    for (rcode, count) in first.rcodes {
        *report.rcodes.entry(rcode).or_default() += count;
    }
    Ok(report)
}

/// A socket and what became of its queries.
struct Asker {
    socket: UdpSocket,
    report: Report,
}

impl Asker {
    fn new(server: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.connect(server)?;
        Ok(Self { socket, report: Report::default() })
    }

    fn ask(&mut self, id: u16) -> Result<()> {
        let query = message::query(id, crate::lab::server::NAME, QueryType::A, None)?;
        self.socket.send(&query)?;
        self.report.sent += 1;
        Ok(())
    }

    /// Reads answers until at most so many queries wait for theirs, and all there are.
    fn read(&mut self, open: u64) -> Result<()> {
        let mut buffer = [0; 512];
        loop {
            let must = self.report.sent - self.report.answered > open;
            self.socket.set_nonblocking(!must)?;
            let length = match self.socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if !must && error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("a query is not answered"),
            };
            let (_, rcode) = message::response(&buffer[..length]).context("not an answer")?;
            self.report.answered += 1;
            *self.report.rcodes.entry(rcode.to_owned()).or_default() += 1;
            if self.report.answered == self.report.sent {
                return Ok(());
            }
        }
    }
}

/// Lets this thread run before all others whenever it can.
fn go_first() -> Result<()> {
    let parameter = libc::sched_param { sched_priority: 1 };
    // SAFETY: a valid parameter, for this thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) };
    ensure!(result == 0, "SCHED_FIFO is refused: {}", std::io::Error::last_os_error());
    Ok(())
}
