//! From a socket buffer to a DNS packet: the port test first, everything else
//! only behind it.

use core::mem::MaybeUninit;

use dnsprobe_common::{
    dns::{HEADER_LEN, QUESTION_LEN, is_answer},
    event::Question,
    flow::{Address, Transport, Tuple, V4_MAPPED_WORD},
};

use crate::{
    constants::{is_dns_port, offset},
    memory::{Pointer, read, read_user},
};

/// UDP's protocol number.
const UDP: u8 = 17;
/// IPv4 header without options, UDP header and the first word of DNS, in words:
/// one read, because a second one costs more than everything else here. Behind a
/// shorter packet still lies memory of its buffer.
const V4_WORDS: usize = 8;
/// The same with an IPv6 header.
const V6_WORDS: usize = 13;

/// A parsed DNS packet, or a message of a TCP connection.
pub(crate) struct Dns {
    /// Addresses and ports as they stand in the packet.
    pub(crate) tuple: Tuple,
    /// What carries it. Over TCP it is still in the current process's memory.
    pub(crate) transport: Transport,
    /// Transaction id.
    pub(crate) id: u16,
    /// Header flags.
    pub(crate) flags: u16,
    /// Address of the question section.
    question: u64,
    /// Bytes of the payload from there on.
    question_len: u16,
}

impl Dns {
    /// A message that a process writes to or reads from a TCP connection, with
    /// the addresses of a query.
    #[inline(always)]
    pub(crate) fn in_user_memory(
        tuple: Tuple,
        id: u16,
        flags: u16,
        question: u64,
        question_len: u16,
    ) -> Self {
        Self { tuple, transport: Transport::Tcp, id, flags, question, question_len }
    }

    /// The same with the addresses of the other direction.
    #[inline(always)]
    pub(crate) fn turn(&mut self) {
        self.tuple = Tuple {
            source: self.tuple.destination,
            destination: self.tuple.source,
            source_port: self.tuple.destination_port,
            destination_port: self.tuple.source_port,
        };
    }

    /// Whether it travels from server to client.
    #[inline(always)]
    pub(crate) fn is_answer(&self) -> bool {
        is_answer(self.flags)
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
            (*to).pad = 0;
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
    let head: u64 = skb.field(offset!(sk_buff_head));
    let network: u16 = skb.field(offset!(sk_buff_network_header));
    parse(head + u64::from(network))
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
    // Not zeroed first: that would cost more than the read.
    let mut words = MaybeUninit::<[u32; V4_WORDS]>::uninit();
    if !read(ip, words.as_mut_ptr(), V4_WORDS * 4) {
        return None;
    }
    // SAFETY: filled by the read.
    let words = unsafe { words.assume_init_ref() };
    let first = words[0].to_ne_bytes()[0];
    if first == 0x45 {
        // A fragment behind the first has no ports; none may pose as DNS.
        let fragment = u32::from_be(words[1]) & 0x1fff;
        if words[2].to_ne_bytes()[1] != UDP || fragment != 0 {
            return None;
        }
        return udp(
            [0, 0, V4_MAPPED_WORD, words[3]],
            [0, 0, V4_MAPPED_WORD, words[4]],
            [words[5], words[6], words[7]],
            ip + 28,
        );
    }
    if first >> 4 == 4 {
        return v4_with_options(ip, first, words);
    }
    if first >> 4 == 6 && words[1].to_ne_bytes()[2] == UDP {
        return v6(ip);
    }
    None
}

/// IPv4 with header options: ports are further on.
#[inline(always)]
fn v4_with_options(ip: u64, first: u8, words: &[u32; V4_WORDS]) -> Option<Dns> {
    let header = u64::from(first & 0xf) * 4;
    if words[2].to_ne_bytes()[1] != UDP || u32::from_be(words[1]) & 0x1fff != 0 || header < 20 {
        return None;
    }
    let mut udp_words = [0_u32; 3];
    if !read(ip + header, &raw mut udp_words, 12) {
        return None;
    }
    udp(
        [0, 0, V4_MAPPED_WORD, words[3]],
        [0, 0, V4_MAPPED_WORD, words[4]],
        udp_words,
        ip + header + 8,
    )
}

/// IPv6 without extension headers.
#[inline(always)]
fn v6(ip: u64) -> Option<Dns> {
    let mut words = MaybeUninit::<[u32; V6_WORDS]>::uninit();
    if !read(ip, words.as_mut_ptr(), V6_WORDS * 4) {
        return None;
    }
    // SAFETY: filled by the read.
    let words = unsafe { words.assume_init_ref() };
    udp(
        [words[2], words[3], words[4], words[5]],
        [words[6], words[7], words[8], words[9]],
        [words[10], words[11], words[12]],
        ip + 48,
    )
}

/// The port test, then the DNS header. `words`: the UDP header and the first word
/// behind it, which is at `payload`.
#[inline(always)]
fn udp(source: Address, destination: Address, words: [u32; 3], payload: u64) -> Option<Dns> {
    let ports = u32::from_be(words[0]);
    let source_port = (ports >> 16) as u16;
    let destination_port = ports as u16;
    let to_server = is_dns_port(destination_port);
    let from_server = is_dns_port(source_port);
    if !to_server && !from_server {
        return None;
    }
    let length = (u32::from_be(words[1]) >> 16) as u16;
    let question_len = length.checked_sub(8 + HEADER_LEN as u16)?;
    let header = u32::from_be(words[2]);
    let flags = header as u16;
    let fits = if is_answer(flags) { from_server } else { to_server };
    if !fits {
        return None;
    }
    Some(Dns {
        tuple: Tuple { source, destination, source_port, destination_port },
        transport: Transport::Udp,
        id: (header >> 16) as u16,
        flags,
        question: payload + HEADER_LEN as u64,
        question_len,
    })
}

/// Whether a socket buffer holds an IP packet at all. Only needed where any
/// kind of buffer may come by.
#[inline(always)]
pub(crate) fn is_ip<P: Pointer>(skb: P) -> bool {
    let protocol = u16::from_be(skb.field(offset!(sk_buff_protocol)));
    protocol == 0x0800 || protocol == 0x86dd
}
