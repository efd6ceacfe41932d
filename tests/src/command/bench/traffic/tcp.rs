//! Segments of a TCP connection over loopback.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use anyhow::{Context, Result, ensure};

use super::Traffic;

/// Both ends of a connection.
#[derive(Debug)]
pub(super) struct Tcp {
    one: TcpStream,
    other: TcpStream,
}

const PAYLOAD: [u8; 64] = [7; 64];
/// There and back; each carries the acknowledgement of the other.
const SEGMENTS: u64 = 2;

impl Tcp {
    pub(super) fn new(port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let one = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        let (other, _) = listener.accept()?;
        for end in [&one, &other] {
            end.set_nodelay(true)?;
        }
        let mut traffic = Self { one, other };
        traffic.is_as_announced()?;
        Ok(traffic)
    }

    /// That so many segments are sent as we say.
    fn is_as_announced(&mut self) -> Result<()> {
        const TRIPS: u64 = 1000;
        let before = segments_sent()?;
        for _ in 0..TRIPS {
            self.once()?;
        }
        let sent = segments_sent()? - before;
        let expected = TRIPS * SEGMENTS;
        ensure!(sent.abs_diff(expected) <= 10, "{sent} segments sent, not {expected}");
        Ok(())
    }
}

impl Traffic for Tcp {
    fn once(&mut self) -> Result<()> {
        let mut buffer = PAYLOAD;
        self.one.write_all(&buffer)?;
        self.other.read_exact(&mut buffer)?;
        self.other.write_all(&buffer)?;
        self.one.read_exact(&mut buffer)?;
        Ok(())
    }

    fn units(&self) -> u64 {
        SEGMENTS
    }
}

fn segments_sent() -> Result<u64> {
    let text = fs::read_to_string("/proc/net/snmp")?;
    out_segments(&text).context("/proc/net/snmp has no OutSegs")
}

fn out_segments(snmp: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter(|line| line.starts_with("Tcp:"));
    let column = lines.next()?.split_whitespace().position(|name| name == "OutSegs")?;
    lines.next()?.split_whitespace().nth(column)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_found_by_their_name() {
        let snmp = "Ip: Forwarding\nIp: 1\nTcp: InSegs OutSegs RetransSegs\nTcp: 5 7 9\n";
        assert_eq!(out_segments(snmp), Some(7));
        assert_eq!(out_segments("Udp: OutSegs\n"), None);
    }
}
