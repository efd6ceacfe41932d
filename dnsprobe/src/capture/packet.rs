//! A captured packet, and what it says of itself.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use dnsprobe_common::{
    capture::Point,
    dns::{HEADER_LEN, is_answer, rcode},
    flow::Role,
};

use crate::{
    dns::Question,
    engine::Tuple,
    identity::{Owner, OwnerKey},
    time::Timestamp,
};

/// UDP's protocol number.
const UDP: u8 = 17;
/// Length of an IPv6 header.
pub(super) const V6_HEADER: usize = 40;
/// Length of a UDP header.
pub(super) const UDP_HEADER: usize = 8;

/// A device, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Interface {
    /// Its index in its namespace.
    pub index: u32,
    /// Inode of its network namespace.
    pub netns: u32,
    /// Its name.
    pub name: String,
}

/// Where and why the kernel dropped a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropSite {
    /// The kernel's reason; `None` on kernels that have none.
    pub reason: Option<String>,
    /// The function that freed it, and the place in it.
    pub location: String,
    /// Who called that, inner first.
    pub callers: Vec<String>,
}

/// A DNS message and its addresses as they stand in the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
    /// Transaction id.
    pub id: u16,
    /// Whether it is an answer.
    pub is_answer: bool,
    /// Response code of the header.
    pub rcode: u8,
    /// Its question; `None` when it has none that can be read.
    pub question: Option<Question>,
}

/// Who asked with which id: what all packets of a transaction have in common,
/// wherever the server's address was translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conversation {
    /// Who asked.
    pub client: SocketAddr,
    /// DNS transaction id.
    pub id: u16,
}

/// A packet at the point where it was captured.
#[derive(Clone, Debug)]
pub struct Packet {
    /// When, kernel nanoseconds.
    pub at_ns: u64,
    /// On which processor.
    pub cpu: u32,
    /// Where on its way.
    pub point: Point,
    /// Its first bytes, from the IP header on, as they lay in the kernel's memory.
    pub bytes: Vec<u8>,
    /// How many bytes it has.
    pub len: u32,
    /// What it says.
    pub message: Message,
    /// Who holds the socket that sends or receives it.
    pub owner: Option<OwnerKey>,
    /// Command of the process that sends it.
    pub command: Option<String>,
    /// The device it came from or is routed to.
    pub interface: Option<Interface>,
    /// The original direction of its conntrack entry.
    pub original: Option<Tuple>,
    /// Where it was dropped.
    pub drop: Option<DropSite>,
}

/// A packet with what was found out about it in user space.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The packet.
    pub packet: Packet,
    /// When it was captured.
    pub time: Timestamp,
    /// Who holds the socket that sends or receives it.
    pub owner: Option<Arc<Owner>>,
}

impl Packet {
    /// A packet of which only the bytes are known; `None` when they are no DNS
    /// message over UDP.
    #[must_use]
    pub fn new(at_ns: u64, cpu: u32, point: Point, bytes: &[u8], len: u32) -> Option<Self> {
        Some(Self {
            at_ns,
            cpu,
            point,
            message: Message::read(bytes)?,
            bytes: bytes.to_vec(),
            len,
            owner: None,
            command: None,
            interface: None,
            original: None,
            drop: None,
        })
    }

    /// Asking and asked side, before translation where the packet was on its way
    /// and its conntrack entry tells.
    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let Message { source, destination, is_answer, .. } = self.message;
        // An answer that came in as a flow of its own has another entry.
        let entry = self.original.filter(|entry| {
            self.drop.is_some() && (!is_answer || entry.destination != destination)
        });
        match (entry, is_answer) {
            (Some(entry), _) => (entry.source, entry.destination),
            (None, false) => (source, destination),
            (None, true) => (destination, source),
        }
    }

    /// Which transaction it belongs to.
    #[must_use]
    pub fn conversation(&self) -> Conversation {
        Conversation { client: self.ends().0, id: self.message.id }
    }

    /// Who was asked.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.ends().1
    }

    /// Whose end of the transaction it was captured at; on its way, the client's.
    #[must_use]
    pub fn role(&self) -> Role {
        match (self.point, self.message.is_answer) {
            (Point::Sent | Point::TakenByDevice, true) | (Point::Queued, false) => Role::Server,
            _ => Role::Client,
        }
    }

    /// Roughly the memory it takes, bytes.
    #[must_use]
    pub(super) fn memory(&self) -> usize {
        let callers = self.drop.iter().flat_map(|site| &site.callers).map(|name| name.len() + 24);
        size_of::<Seen>() + self.bytes.len() + 64 + callers.sum::<usize>()
    }
}

impl Message {
    /// Reads the message in a packet that begins with its IP header.
    #[must_use]
    pub fn read(packet: &[u8]) -> Option<Self> {
        let (source, destination, udp) = match packet.first()? >> 4 {
            4 => {
                let header = usize::from(packet[0] & 0xf) * 4;
                let fixed: &[u8; 20] = packet.first_chunk()?;
                if header < fixed.len() || fixed[9] != UDP {
                    return None;
                }
                let address = |at: usize| {
                    IpAddr::V4(Ipv4Addr::new(
                        fixed[at],
                        fixed[at + 1],
                        fixed[at + 2],
                        fixed[at + 3],
                    ))
                };
                (address(12), address(16), packet.get(header..)?)
            }
            6 => {
                let fixed: &[u8; V6_HEADER] = packet.first_chunk()?;
                if fixed[6] != UDP {
                    return None;
                }
                let address = |at: usize| -> Option<IpAddr> {
                    let bytes: [u8; 16] = fixed.get(at..at + 16)?.try_into().ok()?;
                    Some(Ipv6Addr::from(bytes).into())
                };
                (address(8)?, address(24)?, packet.get(V6_HEADER..)?)
            }
            _ => return None,
        };
        let (udp, dns) = udp.split_at_checked(UDP_HEADER)?;
        let (header, rest) = dns.split_at_checked(HEADER_LEN)?;
        let word = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let flags = word(header, 2);
        Some(Self {
            source: SocketAddr::new(source, word(udp, 0)),
            destination: SocketAddr::new(destination, word(udp, 2)),
            id: word(header, 0),
            is_answer: is_answer(flags),
            rcode: u8::try_from(rcode(flags)).unwrap_or_default(),
            question: (word(header, 4) > 0).then(|| Question::parse(rest).ok()).flatten(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::capture::testing::{ANSWER, CLIENT, SERVER, V6_QUERY, address, query_packet};

    #[test]
    fn a_message_is_read_with_its_addresses() {
        let query = Message::read(&query_packet()).unwrap();
        assert_eq!((query.source, query.destination), (address(CLIENT), address(SERVER)));
        assert_eq!((query.id, query.is_answer, query.rcode), (0x1234, false, 0));
        assert_eq!(query.question.unwrap().to_string(), "www.example.org. A");
        let answer = Message::read(ANSWER).unwrap();
        assert_eq!((answer.source, answer.destination), (address(SERVER), address(CLIENT)));
        assert!(answer.is_answer);
        assert_eq!(answer.rcode, 3);
        let v6 = Message::read(V6_QUERY).unwrap();
        assert_eq!(v6.destination, address("[fd00::2]:53"));
    }

    #[test]
    fn what_is_no_message_over_udp_is_none() {
        let mut tcp = query_packet();
        tcp[9] = 6;
        assert!(Message::read(&tcp).is_none());
        assert!(Message::read(&query_packet()[..35]).is_none());
        let mut short_header = query_packet();
        short_header[0] = 0x44;
        assert!(Message::read(&short_header).is_none());
        assert!(Message::read(&[]).is_none());
    }

    #[test]
    fn on_its_way_the_conntrack_entry_says_who_was_asked() {
        let service = address("10.96.0.10:53");
        let original = Tuple { source: address(CLIENT), destination: service };
        let mut packet = Packet::new(1, 0, Point::Dropped, &query_packet(), 61).unwrap();
        packet.original = Some(original);
        assert_eq!(packet.server(), address(SERVER), "a socket goes by what is in the packet");
        packet.drop = Some(DropSite { reason: None, location: String::new(), callers: Vec::new() });
        assert_eq!(packet.server(), service);
        let mut answer = Packet::new(1, 0, Point::Dropped, ANSWER, 61).unwrap();
        answer.drop = packet.drop;
        answer.original = Some(original);
        assert_eq!((answer.conversation().client, answer.server()), (address(CLIENT), service));
        // A flow of its own: the answer's own direction is the original one.
        answer.original = Some(Tuple { source: address(SERVER), destination: address(CLIENT) });
        assert_eq!(
            (answer.conversation().client, answer.server()),
            (address(CLIENT), address(SERVER))
        );
    }

    #[test]
    fn the_end_follows_from_the_point_and_the_direction() {
        let role = |point, bytes: &[u8]| Packet::new(1, 0, point, bytes, 61).unwrap().role();
        assert_eq!(role(Point::Sent, &query_packet()), Role::Client);
        assert_eq!(role(Point::Queued, &query_packet()), Role::Server);
        assert_eq!(role(Point::Sent, ANSWER), Role::Server);
        assert_eq!(role(Point::Queued, ANSWER), Role::Client);
        assert_eq!(role(Point::FromDevice, ANSWER), Role::Client);
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_fail_but_by_saying_so(
            first in any::<u8>(), mut bytes in proptest::collection::vec(any::<u8>(), 0..120)
        ) {
            if let Some(start) = bytes.first_mut() {
                *start = if first & 1 == 0 { 0x45 } else { 0x60 };
            }
            let _ = Message::read(&bytes);
        }
    }
}
