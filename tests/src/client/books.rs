//! The books of a measuring client: every query it sent, and what became of
//! it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::time::Instant;

use anyhow::{Context, Result};
use nix::errno::Errno;

use super::message;
use super::query::{Args, PORT};
use super::report::{Latency, Report, Unanswered};
use super::socket::{send_all, source_address};

/// Queries that wait, and what became of the others.
#[derive(Default)]
pub(super) struct Books {
    waiting: Vec<Waiting>,
    rtts: Vec<f64>,
    report: Report,
}

/// A query that waits for its answer.
struct Waiting {
    start: Instant,
    message: Vec<u8>,
    unanswered: Unanswered,
}

impl Books {
    /// Send the queries with these numbers; how many the kernel took.
    pub(super) fn send(
        &mut self,
        socket: &UdpSocket,
        args: &Args,
        numbers: Range<u16>,
    ) -> Result<usize> {
        let server = SocketAddr::new(args.server, PORT);
        let messages = numbers.map(|number| query(args, number)).collect::<Result<Vec<_>>>()?;
        let client = SocketAddr::new(source_address(args.server), socket.local_addr()?.port());
        let start = Instant::now();
        let results = send_all(socket, args, &messages)?;
        let mut taken = 0;
        for (message, result) in messages.into_iter().zip(results) {
            let id = message::id(&message);
            let mut unanswered =
                Unanswered { client, server, id, kind: args.kind, send_error: None };
            self.report.sent += 1;
            match result {
                Ok(()) => {
                    taken += 1;
                    self.waiting.push(Waiting { start, message, unanswered });
                }
                Err(error) => {
                    self.report.send_errors += 1;
                    unanswered.send_error = Some(name(&error));
                    self.report.unanswered.push(unanswered);
                }
            }
        }
        Ok(taken)
    }

    /// Read until nothing waits any more or the time is up.
    pub(super) fn wait(
        &mut self,
        socket: &UdpSocket,
        args: &Args,
        deadline: Instant,
    ) -> Result<()> {
        let mut buffer = vec![0; usize::from(u16::MAX)];
        socket.set_nonblocking(false)?;
        while !self.waiting.is_empty() {
            let Some(left) =
                deadline.checked_duration_since(Instant::now()).filter(|d| !d.is_zero())
            else {
                break;
            };
            socket.set_read_timeout(Some(left))?;
            match socket.recv_from(&mut buffer) {
                Ok((length, from)) => self.receive(&buffer[..length], from.ip(), args),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    self.report.refused += 1;
                    break;
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    break;
                }
                // An io_uring makes its completions known by a signal.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Told by ICMP; the answers of other queries may still come.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
                    ) => {}
                Err(error) => return Err(error).context("cannot receive"),
            }
        }
        socket.set_nonblocking(args.nonblocking)?;
        self.report.unanswered.extend(self.waiting.drain(..).map(|query| query.unanswered));
        Ok(())
    }

    fn receive(&mut self, bytes: &[u8], from: IpAddr, args: &Args) {
        let end = Instant::now();
        if from.to_canonical() != args.server {
            self.report.alien += 1;
            return;
        }
        let Some((_, rcode)) = message::response(bytes) else {
            return;
        };
        let answered =
            self.waiting.iter().position(|query| message::answers(bytes, &query.message));
        if let Some(index) = answered {
            let query = self.waiting.remove(index);
            self.report.answered += 1;
            *self.report.rcodes.entry(rcode.into()).or_default() += 1;
            self.rtts.push((end - query.start).as_secs_f64());
        }
    }

    pub(super) fn close(mut self) -> Report {
        self.report.rtt = Latency::of(self.rtts);
        self.report.unanswered.sort();
        self.report
    }
}

/// The message of one query.
fn query(args: &Args, number: u16) -> Result<Vec<u8>> {
    let id = args.same_id.unwrap_or(number);
    if args.distinct_names {
        message::query(id, &format!("n{number}.{}", args.name), args.kind, args.edns)
    } else {
        message::query(id, &args.name, args.kind, args.edns)
    }
}

/// `EAGAIN` and the like.
fn name(error: &io::Error) -> String {
    error
        .raw_os_error()
        .map_or_else(|| error.to_string(), |number| format!("{:?}", Errno::from_raw(number)))
}
