//! The sockets of a measuring client, and the system calls that send from
//! them.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use clap::ValueEnum;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg, setsockopt, sockopt};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use super::query::{Args, PORT};
use super::uring;

/// The system call that sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// `sendto`, or `send` on a connected socket, one call per query.
    Send,
    /// All queries of a burst with one `sendmmsg`.
    Sendmmsg,
    /// All queries of a burst with one submission to an io_uring.
    IoUring,
}

/// A bound (and connected, if asked for) socket.
pub(super) fn open(args: &Args) -> Result<UdpSocket> {
    let local = SocketAddr::new(unspecified(remote(args)), args.source_port);
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, None)?;
    if let Some(bytes) = args.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(bytes) = args.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    if args.receive_errors {
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
    }
    socket.set_nonblocking(args.nonblocking)?;
    socket.bind(&local.into()).with_context(|| format!("cannot bind {local}"))?;
    if args.connected {
        socket.connect(&SocketAddr::new(remote(args), PORT).into())?;
    }
    Ok(socket.into())
}

/// The server's address as the socket has to be told it.
fn remote(args: &Args) -> IpAddr {
    match args.server {
        IpAddr::V4(v4) if args.mapped => v4.to_ipv6_mapped().into(),
        other => other,
    }
}

const fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// The address this machine's packets to `server` carry as their source; a
/// second, connected socket knows it, and no packet is sent. Unspecified where
/// there is no way to the server.
pub(super) fn source_address(server: IpAddr) -> IpAddr {
    let any = unspecified(server);
    let probe = UdpSocket::bind((any, 0)).and_then(|probe| {
        probe.connect((server, PORT))?;
        probe.local_addr()
    });
    probe.map_or(any, |address| address.ip())
}

/// Send `messages`; what the kernel said about each.
pub(super) fn send_all(
    socket: &UdpSocket,
    args: &Args,
    messages: &[Vec<u8>],
) -> Result<Vec<io::Result<()>>> {
    let to = (!args.connected).then(|| SocketAddr::new(remote(args), PORT));
    match args.via {
        Via::Send => Ok(messages.iter().map(|message| send(socket, to, message)).collect()),
        Via::Sendmmsg => Ok(send_many(socket, to, messages)),
        Via::IoUring => uring::send_all(socket, to, messages),
    }
}

fn send(socket: &UdpSocket, to: Option<SocketAddr>, message: &[u8]) -> io::Result<()> {
    match to {
        Some(to) => socket.send_to(message, to).map(drop),
        None => socket.send(message).map(drop),
    }
}

/// `sendmmsg` stops at the first message that fails and tells how many it
/// sent; its error is learnt by calling it again from there.
fn send_many(
    socket: &UdpSocket,
    to: Option<SocketAddr>,
    messages: &[Vec<u8>],
) -> Vec<io::Result<()>> {
    let mut results: Vec<io::Result<()>> = Vec::new();
    while results.len() < messages.len() {
        let rest = &messages[results.len()..];
        let slices: Vec<_> = rest.iter().map(|message| [IoSlice::new(message)]).collect();
        let to = vec![to.map(SockaddrStorage::from); slices.len()];
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(slices.len(), None);
        let sent = sendmmsg(socket.as_raw_fd(), &mut headers, &slices, to, [], MsgFlags::empty())
            .map(Iterator::count);
        match sent {
            Ok(0) => results.push(Err(Errno::EIO.into())),
            Ok(sent) => results.extend((0..sent).map(|_| Ok(()))),
            Err(error) => results.push(Err(error.into())),
        }
    }
    results
}
