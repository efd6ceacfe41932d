//! `lab hold`: keeps packets of an NFQUEUE until enough are there, then lets
//! them all go, in order. It makes two packets wait inside netfilter at the
//! same time, which otherwise takes luck.

use std::io::ErrorKind;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nfq::{Message, Queue, Verdict};

/// Which queue, and how many.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Args {
    /// Queue number of the NFQUEUE rule.
    #[arg(long)]
    pub queue: u16,
    /// Packets to hold before they are let go together.
    #[arg(long, default_value_t = 2)]
    pub count: usize,
}

/// Line on standard error once packets are being held.
pub const READY: &str = "lab hold: ready";

/// A group that does not fill up is let go after this long, so that a wrong
/// guess shows as a race that did not happen and not as lost queries.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Hold and release until the process is ended.
pub fn run(args: &Args) -> Result<()> {
    let mut queue = Queue::open().context("cannot open nfnetlink_queue")?;
    queue
        .bind(args.queue)
        .with_context(|| format!("cannot bind queue {}", args.queue))?;
    queue.set_nonblocking(true);
    eprintln!("{READY}");
    let mut held: Vec<Message> = Vec::new();
    let mut first = Instant::now();
    loop {
        match queue.recv() {
            Ok(message) => {
                if held.is_empty() {
                    first = Instant::now();
                }
                held.push(message);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(Duration::from_millis(1)),
            Err(error) => return Err(error).context("cannot read from the queue"),
        }
        let full = held.len() >= args.count;
        if full || (!held.is_empty() && first.elapsed() > PATIENCE) {
            for mut message in held.drain(..) {
                message.set_verdict(Verdict::Accept);
                queue.verdict(message)?;
            }
        }
    }
}
