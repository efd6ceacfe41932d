//! From a socket buffer to a DNS packet: the port test first, everything else
//! only behind it.

use core::mem::MaybeUninit;

use dnsprobe_common::{
    dns::{HEADER_LEN, QUESTION_LEN, is_answer},
    event::Question,
    flow::{Transport, Tuple, is_namespace_local},
};

use crate::{
    constants::{is_dns_port, offset},
    flow::{Flow, Wide, narrow, v4_mapped},
    memory::{Pointer, Raw, Window, read, read_user},
};

/// UDP's protocol number.
const UDP: u8 = 17;
/// IPv4 header without options, UDP header and the first four bytes of DNS, in
/// words of eight bytes: one read, because a second one costs more than everything
/// else here. Behind a shorter packet still lies memory of its buffer.
const V4_WORDS: usize = 4;
/// The same with an IPv6 header.
const V6_WORDS: usize = 7;
/// A UDP header and the first four bytes of DNS.
const UDP_WORDS: usize = 2;

/// A parsed DNS packet, or a message of a TCP connection.
pub(crate) struct Dns {
    /// Who asks whom.
    pub(crate) flow: Flow,
    /// What carries it. Over TCP it is still in the current process's memory.
    pub(crate) transport: Transport,
    /// Transaction id.
    pub(crate) id: u16,
    /// Header flags.
    pub(crate) flags: u16,
    /// Address of the question section.
    question: u64,
    /// Bytes of the payload from there on that lie in one piece.
    question_len: u16,
    /// Bytes of the message from there on.
    message_len: u16,
}

impl Dns {
    /// A message that a process writes to or reads from a TCP connection.
    #[inline(always)]
    pub(crate) fn in_user_memory(
        flow: Flow,
        id: u16,
        flags: u16,
        question: u64,
        question_len: u16,
        message_len: u16,
    ) -> Self {
        Self { flow, transport: Transport::Tcp, id, flags, question, question_len, message_len }
    }

    /// Whether it travels from server to client.
    #[inline(always)]
    pub(crate) fn is_answer(&self) -> bool {
        is_answer(self.flags)
    }

    /// Addresses and ports as they stand in the packet.
    #[inline(always)]
    pub(crate) fn tuple(&self) -> Tuple {
        if self.is_answer() { self.flow.answered() } else { self.flow.asked() }
    }

    /// Copies the question section.
    #[inline(always)]
    pub(crate) fn copy_question(&self, to: *mut Question) {
        let mut len = self.question_len as usize;
        if len > QUESTION_LEN {
            len = QUESTION_LEN;
        }
        // SAFETY: `to` is a live map value or reserved record.
        unsafe {
            (*to).message_len = self.message_len;
            (*to).len = 0;
            let bytes = (&raw mut (*to).bytes).cast::<u8>();
            let is_copied = len > 0
                && match self.transport {
                    Transport::Udp => read(self.question, bytes, len),
                    Transport::Tcp => read_user(self.question, bytes, len),
                };
            if is_copied {
                (*to).len = len as u16;
            }
        }
    }
}

/// The DNS packet in a socket buffer of a layer that has set the network
/// header; `None` for everything else, after one read and the port test.
#[inline(always)]
pub(crate) fn dns<P: Pointer>(skb: P) -> Option<Dns> {
    parse(network_header(skb))
}

/// Address of the IP header in a socket buffer of a layer that has set it.
#[inline(always)]
pub(crate) fn network_header<P: Pointer>(skb: P) -> u64 {
    let head: u64 = skb.field(offset!(sk_buff_head));
    let network: u16 = skb.field(offset!(sk_buff_network_header));
    head + u64::from(network)
}

/// The same where a device has just handed in the packet: its data starts with
/// the IP header, which no one has marked yet.
#[inline(always)]
pub(crate) fn received_dns<P: Pointer>(skb: P) -> Option<Dns> {
    parse(skb.field(offset!(sk_buff_data)))
}

/// The DNS packet whose IP header is at `ip`.
#[inline(always)]
fn parse(ip: u64) -> Option<Dns> {
    if let Some(window) = Window::at(ip) {
        let first = window.word(0);
        return match version(first) {
            Version::V4 => v4(first, |index| window.word(index), ip),
            Version::V4WithOptions => v4_with_options(first, window.word(1), window.word(2), ip),
            Version::V6 => v6(first, |index| window.word(index), ip),
            Version::Other => None,
        };
    }
    let words = read_words::<V4_WORDS>(ip)?;
    match version(words[0]) {
        Version::V4 => v4(words[0], |index| words[index], ip),
        Version::V4WithOptions => v4_with_options(words[0], words[1], words[2], ip),
        Version::V6 if next_header(words[0]) == UDP => {
            let words = read_words::<V6_WORDS>(ip)?;
            v6(words[0], |index| words[index], ip)
        }
        _ => None,
    }
}

/// Words of kernel memory, by the helper.
#[inline(always)]
fn read_words<const WORDS: usize>(address: u64) -> Option<[u64; WORDS]> {
    // Not zeroed first: that would cost more than the read.
    let mut words = MaybeUninit::<[u64; WORDS]>::uninit();
    // SAFETY: filled by the read.
    read(address, words.as_mut_ptr(), WORDS * 8).then(|| unsafe { words.assume_init() })
}

/// What an IP header is by its first byte.
enum Version {
    V4,
    V4WithOptions,
    V6,
    Other,
}

#[inline(always)]
fn version(first: u64) -> Version {
    match first & 0xff {
        0x45 => Version::V4,
        byte if byte >> 4 == 4 => Version::V4WithOptions,
        byte if byte >> 4 == 6 => Version::V6,
        _ => Version::Other,
    }
}

/// The protocol behind an IPv6 header, of which this is the first word.
#[inline(always)]
const fn next_header(first: u64) -> u8 {
    (first >> 48) as u8
}

/// Whether IPv4's first two words are of a datagram with ports: a fragment behind
/// the first has none, and none may pose as DNS.
#[inline(always)]
fn has_ports(first: u64, second: u64) -> bool {
    (second >> 8) as u8 == UDP && u16::from_be((first >> 48) as u16) & 0x1fff == 0
}

/// IPv4 without header options.
#[inline(always)]
fn v4(first: u64, word: impl Fn(usize) -> u64, ip: u64) -> Option<Dns> {
    let second = word(1);
    if !has_ports(first, second) {
        return None;
    }
    let third = word(2);
    let ports = Ports::of((third >> 32) as u32)?;
    let source = End::v4((second >> 32) as u32, ports.source);
    udp(source, End::v4(third as u32, ports.destination), &ports, word(3), ip + 28)
}

/// IPv4 with header options: ports are further on.
#[inline(always)]
fn v4_with_options(first: u64, second: u64, third: u64, ip: u64) -> Option<Dns> {
    let header = (first & 0xf) * 4;
    if !has_ports(first, second) || header < 20 {
        return None;
    }
    let [start, dns]: [u64; UDP_WORDS] = Raw(ip + header).field(0);
    let ports = Ports::of(start as u32)?;
    let source = End::v4((second >> 32) as u32, ports.source);
    let rest = start >> 32 | dns << 32;
    udp(source, End::v4(third as u32, ports.destination), &ports, rest, ip + header + 8)
}

/// IPv6 without extension headers.
#[inline(always)]
fn v6(first: u64, word: impl Fn(usize) -> u64, ip: u64) -> Option<Dns> {
    if next_header(first) != UDP {
        return None;
    }
    let start = word(5);
    let ports = Ports::of(start as u32)?;
    let source = End::v6([word(1), word(2)], ports.source);
    let destination = End::v6([word(3), word(4)], ports.destination);
    udp(source, destination, &ports, start >> 32 | word(6) << 32, ip + 48)
}

/// One end of a flow.
struct End {
    address: Wide,
    port: u16,
    is_v4: bool,
}

impl End {
    /// By a network-order IPv4 address.
    #[inline(always)]
    fn v4(address: u32, port: u16) -> Self {
        Self { address: v4_mapped(address), port, is_v4: true }
    }

    #[inline(always)]
    fn v6(address: Wide, port: u16) -> Self {
        Self { address, port, is_v4: false }
    }

    /// See [`Flow::is_local`]; of IPv4, 127/8 and 169.254/16.
    #[inline(always)]
    fn is_local(&self) -> bool {
        if !self.is_v4 {
            return is_namespace_local(&narrow(self.address));
        }
        let address = (self.address[1] >> 32) as u32;
        address as u8 == 127 || address as u16 == u16::from_be(0xa9fe)
    }
}

/// Ports of which one is a DNS port.
struct Ports {
    source: u16,
    destination: u16,
    /// Whether the destination is one; else the source is.
    to_server: bool,
}

impl Ports {
    /// The port test. `raw`: the first four bytes of a UDP header.
    #[inline(always)]
    fn of(raw: u32) -> Option<Self> {
        let source = u16::from_be(raw as u16);
        let destination = u16::from_be((raw >> 16) as u16);
        let to_server = is_dns_port(destination);
        (to_server || is_dns_port(source)).then_some(Self { source, destination, to_server })
    }

    #[inline(always)]
    fn from_server(&self) -> bool {
        !self.to_server || is_dns_port(self.source)
    }
}

/// The DNS header. `rest`: the last four bytes of the UDP header, and the first of
/// what is behind it, at `payload`.
#[inline(always)]
fn udp(source: End, destination: End, ports: &Ports, rest: u64, payload: u64) -> Option<Dns> {
    let length = u16::from_be(rest as u16);
    let question_len = length.checked_sub(8 + HEADER_LEN as u16)?;
    let flags = u16::from_be((rest >> 48) as u16);
    let (client, server) = if is_answer(flags) {
        if !ports.from_server() {
            return None;
        }
        (destination, source)
    } else {
        if !ports.to_server {
            return None;
        }
        (source, destination)
    };
    Some(Dns {
        flow: Flow {
            client: client.address,
            server: server.address,
            client_port: client.port,
            server_port: server.port,
            is_local: client.is_local(),
        },
        transport: Transport::Udp,
        id: u16::from_be((rest >> 32) as u16),
        flags,
        question: payload + HEADER_LEN as u64,
        question_len,
        message_len: question_len,
    })
}

/// Whether a socket buffer holds an IP packet at all. Only needed where any
/// kind of buffer may come by.
#[inline(always)]
pub(crate) fn is_ip<P: Pointer>(skb: P) -> bool {
    let protocol = u16::from_be(skb.field(offset!(sk_buff_protocol)));
    protocol == 0x0800 || protocol == 0x86dd
}
