//! `lab respond`: a DNS server with one fault. The servers of the lab cannot be
//! made to answer slowly, wrongly or cut short; this one does nothing else.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::Programs;
use super::pod::Pod;
use super::process::Process;
use crate::client::message::HEADER_BYTES;

/// What is wrong with its answers.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
pub struct Args {
    /// Response code.
    #[arg(long, default_value_t = 0)]
    pub rcode: u8,
    /// Wait for this long before each answer, milliseconds.
    #[arg(long, default_value_t = 0)]
    pub delay_ms: u64,
    /// Answer for this name instead of the one asked for.
    #[arg(long)]
    pub answer_as: Option<String>,
    /// Set the flag TC and leave the answer out.
    #[arg(long)]
    pub truncate: bool,
    /// Answer over TCP too, whole.
    #[arg(long)]
    pub tcp: bool,
    /// Read queries over TCP and never answer them.
    #[arg(long)]
    pub tcp_silent: bool,
}

impl Programs {
    /// Respond in `pod` until the process is dropped.
    pub fn respond(&self, pod: &Pod, args: &Args) -> Result<Process> {
        let mut command = Command::new(&self.lab);
        command.arg("respond").args(super::clients::options(args)?);
        let mut process = pod.spawn(command)?;
        process.wait_for(READY, Duration::from_secs(10))?;
        Ok(process)
    }
}

/// Line on standard error once the socket is open.
const READY: &str = "lab respond: ready";

/// The address that is answered.
const ADDRESS: [u8; 4] = [192, 0, 2, 80];

/// Respond until the process is ended.
pub fn run(args: &Args) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)).context("cannot bind port 53")?;
    if args.tcp || args.tcp_silent {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 53))?;
        let args = Args { truncate: false, ..args.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let args = args.clone();
                thread::spawn(move || over_tcp(stream, &args));
            }
        });
    }
    eprintln!("{READY}");
    serve(&socket, args)
}

/// Answer what comes to a socket, until there is an error.
pub(crate) fn serve(socket: &UdpSocket, args: &Args) -> Result<()> {
    let mut buffer = [0; 1500];
    loop {
        let (length, client) = socket.recv_from(&mut buffer)?;
        sleep(Duration::from_millis(args.delay_ms));
        if let Some(answer) = answer(&buffer[..length], args)? {
            socket.send_to(&answer, client)?;
        }
    }
}

/// Serve one connection until its client closes it.
fn over_tcp(mut stream: TcpStream, args: &Args) -> Result<()> {
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query)?;
        if args.tcp_silent {
            continue;
        }
        if let Some(answer) = answer(&query, args)? {
            let length = u16::try_from(answer.len())?.to_be_bytes();
            stream.write_all(&[&length[..], &answer].concat())?;
        }
    }
}

/// The answer to a query; `None` for what is none.
fn answer(query: &[u8], args: &Args) -> Result<Option<Vec<u8>>> {
    let Some(end) = question_end(query).filter(|_| query[2] & 0x80 == 0) else { return Ok(None) };
    let mut answer = query[..end].to_vec();
    answer[2] = 0x81 | if args.truncate { 0x02 } else { 0 };
    answer[3] = 0x80 | args.rcode;
    answer[6..HEADER_BYTES].fill(0);
    let kind = u16::from_be_bytes([query[end - 4], query[end - 3]]);
    if args.rcode == 0 && !args.truncate && kind == 1 {
        answer[7] = 1;
        match &args.answer_as {
            Some(name) => {
                for label in name.trim_end_matches('.').split('.') {
                    ensure!((1..64).contains(&label.len()), "not a DNS name: {name}");
                    answer.push(u8::try_from(label.len())?);
                    answer.extend_from_slice(label.as_bytes());
                }
                answer.push(0);
            }
            None => answer.extend_from_slice(&[0xc0, 12]),
        }
        answer.extend_from_slice(&[0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend_from_slice(&ADDRESS);
    }
    Ok(Some(answer))
}

/// Where the question of a message ends.
fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = HEADER_BYTES;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1 + length;
        if length == 0 {
            break;
        }
    }
    (at + 4 <= message.len()).then_some(at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::message::{self, QueryType};

    fn answer_to(kind: QueryType, args: &Args) -> Vec<u8> {
        let query = message::query(7, "a.bc.", kind, Some(1232)).unwrap();
        answer(&query, args).unwrap().unwrap()
    }

    #[test]
    fn an_answer_keeps_id_and_question_and_drops_the_options() {
        let answer = answer_to(QueryType::A, &Args::default());
        assert_eq!(answer[..12], [0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(answer[22..24], [0xc0, 12]);
    }

    #[test]
    fn faults_show_in_the_header_and_the_name() {
        let args = Args { rcode: 2, ..Args::default() };
        assert_eq!(answer_to(QueryType::A, &args)[3], 0x82);
        let args = Args { truncate: true, ..Args::default() };
        assert_eq!(answer_to(QueryType::A, &args)[2..8], [0x83, 0x80, 0, 1, 0, 0]);
        let args = Args { answer_as: Some("x.".into()), ..Args::default() };
        assert_eq!(answer_to(QueryType::A, &args)[22..25], [1, b'x', 0]);
    }

    #[test]
    fn what_is_no_query_gets_no_answer() {
        assert_eq!(answer(&[0; 12], &Args::default()).unwrap(), None);
        assert_eq!(
            answer(&answer_to(QueryType::A, &Args::default()), &Args::default()).unwrap(),
            None
        );
    }
}
