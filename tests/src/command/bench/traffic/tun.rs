//! Somebody who is not on this node: whoever holds the other side of a TUN
//! device. What he sends arrives as from a network; he has no socket that a
//! hook could see.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};

use crate::lab::shell::Namespace;
use crate::lab::undo::Undo;

/// This node's address on the device.
pub(super) const HERE: Ipv4Addr = Ipv4Addr::new(10, 250, 0, 1);
/// The first of the addresses behind it.
pub(super) const THERE: Ipv4Addr = Ipv4Addr::new(10, 250, 1, 1);
const DEVICE: &str = "bench0";

/// `linux/if_tun.h`: packets of the network layer, with nothing before them.
const TUN_WITHOUT_HEADER: i16 = 0x1001;

/// `struct ifreq`, as far as TUNSETIFF reads it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: i16,
    pad: [u8; 22],
}

nix::ioctl_write_ptr_bad!(set_interface, nix::request_code_write!(b'T', 202, 4), Request);

/// The far side of the device.
#[derive(Debug)]
pub(super) struct Tun {
    device: File,
    _gone: Undo,
}

impl Tun {
    pub(super) fn open() -> Result<Self> {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .context("cannot open the TUN device")?;
        let mut request = Request { name: [0; 16], flags: TUN_WITHOUT_HEADER, pad: [0; 22] };
        request.name[..DEVICE.len()].copy_from_slice(DEVICE.as_bytes());
        // SAFETY: the descriptor is open and the request is as large as the
        // kernel's.
        unsafe { set_interface(device.as_raw_fd(), &raw const request) }
            .context("cannot make a TUN device")?;
        let gone = Undo::later(format!("ip link delete {DEVICE}"));
        // No packet but ours.
        Namespace::Own.sysctl(&[&format!("net/ipv6/conf/{DEVICE}/disable_ipv6=1")])?;
        Namespace::Own.ip(&format!("addr add {HERE}/16 dev {DEVICE}\nlink set {DEVICE} up\n"))?;
        Ok(Self { device, _gone: gone })
    }

    /// Sends a packet to this node.
    pub(super) fn send(&mut self, packet: &Packet) -> Result<()> {
        Ok(self.device.write_all(&packet.bytes)?)
    }

    /// The payload of the next packet from this node.
    pub(super) fn receive<'a>(&mut self, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
        let length = self.device.read(buffer)?;
        buffer.get(HEADERS..length).context("a packet that is too short")
    }
}

const HEADERS: usize = 28;
const UDP: u8 = 17;

/// A UDP packet over IPv4. It has no UDP checksum: as behind a network card
/// that verified it, nobody has to compute one.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    bytes: Vec<u8>,
}

impl Packet {
    pub(super) fn new(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Result<Self> {
        ensure!(payload.len() < 1400, "a payload that fits into no packet");
        let udp_length = u16::try_from(8 + payload.len())?;
        let mut bytes = vec![0x45, 0];
        bytes.extend_from_slice(&(20 + udp_length).to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0x40, 0, 64, UDP, 0, 0]);
        bytes.extend_from_slice(&from.0.octets());
        bytes.extend_from_slice(&to.0.octets());
        bytes.extend_from_slice(&from.1.to_be_bytes());
        bytes.extend_from_slice(&to.1.to_be_bytes());
        bytes.extend_from_slice(&udp_length.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(payload);
        let mut packet = Self { bytes };
        packet.sum_header();
        Ok(packet)
    }

    /// Changes who sends it.
    pub(super) fn set_source(&mut self, address: Ipv4Addr, port: u16) {
        self.bytes[12..16].copy_from_slice(&address.octets());
        self.bytes[20..22].copy_from_slice(&port.to_be_bytes());
        self.sum_header();
    }

    /// Changes the DNS id.
    pub(super) fn set_id(&mut self, id: [u8; 2]) {
        self.bytes[HEADERS..HEADERS + 2].copy_from_slice(&id);
    }

    fn sum_header(&mut self) {
        self.bytes[10..12].fill(0);
        let words = self.bytes[..20].chunks_exact(2);
        let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        self.bytes[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_has_the_bytes_of_rfc_791_and_768() {
        let mut packet = Packet::new((THERE, 0x1234), (HERE, 53), &[1, 2, 3]).unwrap();
        assert_eq!(packet.bytes[..4], [0x45, 0, 0, 31]);
        assert_eq!(packet.bytes[20..28], [0x12, 0x34, 0, 53, 0, 11, 0, 0]);
        assert_eq!(folded(&packet.bytes[..20]), 0xffff);
        packet.set_source(Ipv4Addr::new(10, 250, 255, 255), 0xffff);
        packet.set_id([7, 8]);
        assert_eq!(folded(&packet.bytes[..20]), 0xffff);
        assert_eq!(packet.bytes[28..], [7, 8, 3]);
    }

    /// What a receiver computes; all ones when the header is intact.
    fn folded(header: &[u8]) -> u32 {
        let sum: u32 =
            header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        (sum & 0xffff) + (sum >> 16)
    }

    #[test]
    fn the_request_is_as_large_as_the_kernels() {
        assert_eq!(size_of::<Request>(), 40);
    }
}
