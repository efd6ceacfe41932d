//! `lab hold`: keeps packets of an NFQUEUE until enough are there, then lets
//! them all go, in order. It makes two packets wait inside netfilter at the
//! same time, which otherwise takes luck.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nfq::{Message, Queue, Verdict};

use super::process::{AMPLE, Process};
use super::{Node, Programs};

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

/// The rule that queues the first packet of every flow from `client` in nat
/// POSTROUTING. A packet that returns from there is not given another source
/// port if its reply tuple is taken.
#[must_use]
pub fn rule(client: &str, queue: u16) -> String {
    format!(
        "-A POSTROUTING -s {client} -p udp --dport 53 -m conntrack --ctstate NEW \
         -j NFQUEUE --queue-num {queue}"
    )
}

/// Queue the first packet of every marked flow to `server` after its source was
/// translated and before conntrack confirms its entry.
pub fn after_source_nat(node: &Node, server: Ipv4Addr, mark: u32, queue: u16) -> Result<()> {
    let rules = format!(
        "table ip hold {{\n chain post {{\n type filter hook postrouting priority 200\n \
         ip daddr {server} udp dport 53 meta mark & {mark:#x} == {mark:#x} ct state new queue num {queue}\n }}\n}}\n"
    );
    node.namespace().run_with_input("nft -f -", &rules).map(drop)
}

impl Programs {
    /// Hold packets on this machine until the process is dropped.
    pub fn hold(&self, args: &Args) -> Result<Process> {
        let mut command = Command::new(&self.lab);
        command
            .args(["hold", "--queue", &args.queue.to_string(), "--count", &args.count.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child = command.spawn().context("cannot start lab hold")?;
        let mut process = Process::new("lab hold", child);
        process.wait_for(READY, AMPLE)?;
        Ok(process)
    }
}

/// Line on standard error once packets are being held.
const READY: &str = "lab hold: ready";

/// A group that does not fill up is let go after this long, so that a wrong
/// guess shows as a race that did not happen and not as lost queries.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Hold and release until the process is ended.
pub fn run(args: &Args) -> Result<()> {
    let mut queue = Queue::open().context("cannot open nfnetlink_queue")?;
    queue.bind(args.queue).with_context(|| format!("cannot bind queue {}", args.queue))?;
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
