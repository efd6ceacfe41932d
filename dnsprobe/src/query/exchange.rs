//! One query on the wire: a fresh socket (so a fresh source port), a random
//! id, and nothing taken for an answer that is not.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout_at,
};

use super::measurement::{Discarded, Exchange, Mismatch, Outcome};
use crate::dns::{Question, encode_query, read_answer};

/// Largest datagram; answers without EDNS are far smaller.
const DATAGRAM_BYTES: usize = 65_535;
/// Different kinds of discarded packets that are kept of one query.
const DISCARDED: usize = 16;

/// Asks over UDP.
pub(super) async fn udp(server: SocketAddr, question: &Question, timeout: Duration) -> Exchange {
    let mut discarded = Vec::new();
    let outcome = match udp_inner(server, question, timeout, &mut discarded).await {
        Ok(outcome) => outcome,
        Err(error) => outcome_of(&error),
    };
    Exchange { outcome, discarded }
}

async fn udp_inner(
    server: SocketAddr,
    question: &Question,
    timeout: Duration,
    discarded: &mut Vec<Discarded>,
) -> io::Result<Outcome> {
    let id = random_id()?;
    let query = encode_query(id, question).map_err(io::Error::other)?;
    // Not connected: the kernel would hide answers from other addresses.
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    report_icmp_errors(&socket, server.is_ipv6())?;
    let start = Instant::now();
    let deadline = tokio::time::Instant::from_std(start + timeout);
    socket.send_to(&query, server).await?;
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let received = match timeout_at(deadline, socket.recv_from(&mut buffer)).await {
            Ok(received) => received,
            Err(_) => return Ok(Outcome::TimedOut),
        };
        let (length, from) = received?;
        let seconds = start.elapsed().as_secs_f64();
        let mismatch = match read_answer(&buffer[..length], id, question) {
            _ if !is_same(from, server) => Mismatch::Source(from),
            Ok(answer) => return Ok(Outcome::Answered { answer, seconds }),
            Err(reason) => Mismatch::Content(reason),
        };
        let mismatch = Discarded(mismatch);
        if discarded.len() < DISCARDED && !discarded.contains(&mismatch) {
            discarded.push(mismatch);
        }
    }
}

/// Asks over TCP.
pub(super) async fn tcp(server: SocketAddr, question: &Question, timeout: Duration) -> Exchange {
    let mut discarded = Vec::new();
    let work = tcp_inner(server, question, &mut discarded);
    let outcome = match tokio::time::timeout(timeout, work).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => outcome_of(&error),
        Err(_) => Outcome::TimedOut,
    };
    Exchange { outcome, discarded }
}

async fn tcp_inner(
    server: SocketAddr,
    question: &Question,
    discarded: &mut Vec<Discarded>,
) -> io::Result<Outcome> {
    let id = random_id()?;
    let query = encode_query(id, question).map_err(io::Error::other)?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    let start = Instant::now();
    let mut stream = TcpStream::connect(server).await?;
    let mut message = length.to_be_bytes().to_vec();
    message.extend(query);
    stream.write_all(&message).await?;
    loop {
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        let seconds = start.elapsed().as_secs_f64();
        match read_answer(&answer, id, question) {
            Ok(answer) => return Ok(Outcome::Answered { answer, seconds }),
            Err(reason) => {
                let mismatch = Discarded(Mismatch::Content(reason));
                if discarded.len() < DISCARDED && !discarded.contains(&mismatch) {
                    discarded.push(mismatch);
                }
            }
        }
    }
}

/// An id that nobody can guess.
fn random_id() -> io::Result<u16> {
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
    Ok(u16::from_ne_bytes(id))
}

/// Lets the socket report ICMP errors although it is not connected (ip(7),
/// `IP_RECVERR`).
fn report_icmp_errors(socket: &UdpSocket, is_v6: bool) -> io::Result<()> {
    let (level, option) = if is_v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    } else {
        (libc::IPPROTO_IP, libc::IP_RECVERR)
    };
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open as long as `socket` lives, and the option
    // is read from `on`, of which the right size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Scopes and flow labels aside, which the kernel fills in by itself.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    one.ip().to_canonical() == other.ip().to_canonical() && one.port() == other.port()
}

fn outcome_of(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Outcome::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Outcome::Unreachable,
        io::ErrorKind::PermissionDenied => Outcome::NotPermitted,
        io::ErrorKind::TimedOut => Outcome::TimedOut,
        io::ErrorKind::UnexpectedEof => {
            Outcome::Failed("the server closed the connection without an answer".to_owned())
        }
        _ => Outcome::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::QType;

    const TIMEOUT: Duration = Duration::from_millis(300);

    fn question() -> Question {
        Question { name: "a.example".parse().unwrap(), qtype: QType::A }
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    /// The query turned into an empty answer.
    fn answer(query: &[u8]) -> Vec<u8> {
        let mut answer = query.to_vec();
        answer[2] |= 0x80;
        answer
    }

    #[test]
    fn an_answer_is_taken_only_from_who_was_asked_and_only_if_it_fits() {
        run(async {
            let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let (to, from) = (server.local_addr().unwrap(), stranger.local_addr().unwrap());
            let serve = async {
                let mut query = [0; 512];
                let (length, client) = server.recv_from(&mut query).await.unwrap();
                let right = answer(&query[..length]);
                let mut wrong_id = right.clone();
                wrong_id[0] ^= 1;
                stranger.send_to(&right, client).await.unwrap();
                server.send_to(&wrong_id, client).await.unwrap();
                server.send_to(b"rubbish", client).await.unwrap();
                server.send_to(&right, client).await.unwrap();
            };
            let question = question();
            let (exchange, ()) = tokio::join!(udp(to, &question, TIMEOUT), serve);
            assert_eq!(exchange.answer().unwrap().rcode, "NOERROR");
            assert!(exchange.discarded.contains(&Discarded(Mismatch::Source(from))));
            assert_eq!(exchange.discarded.len(), 3);
        });
    }

    #[test]
    fn silence_and_refusal_are_told_apart() {
        run(async {
            let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let to = silent.local_addr().unwrap();
            assert_eq!(udp(to, &question(), TIMEOUT).await.outcome, Outcome::TimedOut);
            drop(silent);
            assert_eq!(udp(to, &question(), TIMEOUT).await.outcome, Outcome::Refused);
            assert_eq!(tcp(to, &question(), TIMEOUT).await.outcome, Outcome::Refused);
        });
    }

    #[test]
    fn answers_over_tcp_are_read_in_any_pieces() {
        run(async {
            let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let to = server.local_addr().unwrap();
            let serve = async {
                let (mut stream, _) = server.accept().await.unwrap();
                let length = stream.read_u16().await.unwrap();
                let mut query = vec![0; usize::from(length)];
                stream.read_exact(&mut query).await.unwrap();
                stream.write_u16(length).await.unwrap();
                for piece in answer(&query).chunks(5) {
                    stream.write_all(piece).await.unwrap();
                    stream.flush().await.unwrap();
                }
            };
            let question = question();
            let (exchange, ()) = tokio::join!(tcp(to, &question, TIMEOUT), serve);
            assert_eq!(exchange.answer().unwrap().rcode, "NOERROR");
        });
    }
}
