//! Asking the kernel over netlink: one request, every answer, nothing
//! interpreted beyond messages and attributes.

use std::io;

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use netlink_sys::{Socket, SocketAddr};

/// More than any table that can be read in reasonable time.
const MAX_ANSWER_BYTES: usize = 256 << 20;
/// The kernel fills at most 32 KiB at a time (`netlink_dump`,
/// net/netlink/af_netlink.c); a single message may be larger.
const RECEIVE_BYTES: usize = 256 << 10;
/// Times that a dump is started anew because the table changed under it.
const DUMP_ATTEMPTS: usize = 4;
const HEADER_BYTES: usize = 16;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;

/// Why the kernel's answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetlinkError {
    /// The socket does not work.
    #[error("netlink socket")]
    Socket(#[source] io::Error),
    /// The kernel said no.
    #[error("the kernel refused")]
    Refused(#[source] io::Error),
    /// Every attempt met a change.
    #[error("the table changed each time while it was read")]
    Changing,
    /// Not what netlink messages look like.
    #[error("the kernel's answer is malformed")]
    Malformed,
    /// More than is kept in memory.
    #[error("the table is larger than {} MiB", MAX_ANSWER_BYTES >> 20)]
    TooLarge,
}

/// One message without its netlink header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u16,
    pub(crate) payload: Vec<u8>,
}

/// What one datagram from the kernel held.
#[derive(Debug, Default)]
struct Received {
    messages: Vec<Message>,
    done: bool,
    interrupted: bool,
    /// Errno of an error message.
    error: Option<i32>,
}

/// A connection to one of the kernel's netlink families, in the network
/// namespace of this process.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens a socket of a protocol such as `libc::NETLINK_NETFILTER`.
    pub(crate) fn open(protocol: i32) -> Result<Self, NetlinkError> {
        let protocol = isize::try_from(protocol).map_err(|_| NetlinkError::Malformed)?;
        let mut socket = Socket::new(protocol).map_err(NetlinkError::Socket)?;
        socket.bind_auto().map_err(NetlinkError::Socket)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Every object of a kind, as they were at one moment.
    pub(crate) fn dump(&mut self, kind: u16, body: &[u8]) -> Result<Vec<Message>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            let (mut messages, mut bytes) = (Vec::new(), 0);
            let whole = self.dump_each(kind, body, |message| {
                bytes += message.payload.len();
                messages.push(message);
                if bytes > MAX_ANSWER_BYTES { Err(NetlinkError::TooLarge) } else { Ok(()) }
            })?;
            if whole {
                return Ok(messages);
            }
        }
        Err(NetlinkError::Changing)
    }

    /// Every object of a kind, one by one; false when the table changed while
    /// it was read.
    pub(crate) fn dump_each(
        &mut self,
        kind: u16,
        body: &[u8],
        mut each: impl FnMut(Message) -> Result<(), NetlinkError>,
    ) -> Result<bool, NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(kind, NLM_F_DUMP | NLM_F_REQUEST, self.sequence, body);
        let kernel = SocketAddr::new(0, 0);
        self.socket.send_to(&request, &kernel, 0).map_err(NetlinkError::Socket)?;
        let mut whole = true;
        let mut buffer: Vec<u8> = Vec::with_capacity(RECEIVE_BYTES);
        loop {
            buffer.clear();
            // The kernel has answered within the call that sent the request:
            // an empty queue is an answer that never comes.
            let length = self
                .socket
                .recv(&mut buffer, libc::MSG_DONTWAIT | libc::MSG_TRUNC)
                .map_err(NetlinkError::Socket)?;
            if length > buffer.len() {
                return Err(NetlinkError::TooLarge);
            }
            let received = split(&buffer, self.sequence)?;
            whole &= !received.interrupted;
            received.messages.into_iter().try_for_each(&mut each)?;
            if let Some(errno) = received.error {
                return Err(NetlinkError::Refused(io::Error::from_raw_os_error(errno)));
            }
            if received.done {
                return Ok(whole);
            }
        }
    }
}

fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = HEADER_BYTES + body.len();
    let mut bytes = vec![0; HEADER_BYTES];
    bytes.extend_from_slice(body);
    let mut header = NetlinkBuffer::new(&mut bytes);
    header.set_length(u32::try_from(length).unwrap_or(u32::MAX));
    header.set_message_type(kind);
    header.set_flags(flags);
    header.set_sequence_number(sequence);
    bytes
}

/// The messages of one datagram. Answers to earlier requests are left out.
fn split(mut bytes: &[u8], sequence: u32) -> Result<Received, NetlinkError> {
    let mut received = Received::default();
    while !bytes.is_empty() {
        let message = NetlinkBuffer::new_checked(bytes).map_err(|_| NetlinkError::Malformed)?;
        let length = usize::try_from(message.length()).map_err(|_| NetlinkError::Malformed)?;
        let payload = bytes.get(HEADER_BYTES..length).ok_or(NetlinkError::Malformed)?;
        if message.sequence_number() == sequence {
            let flags: u16 = message.flags();
            received.interrupted |= flags & NLM_F_DUMP_INTR != 0;
            match message.message_type() {
                NLMSG_DONE => received.done = true,
                NLMSG_ERROR => {
                    let code = payload.first_chunk().ok_or(NetlinkError::Malformed)?;
                    received.error = Some(i32::from_ne_bytes(*code).wrapping_neg());
                }
                kind => received.messages.push(Message { kind, payload: payload.to_vec() }),
            }
        }
        // The last message of a datagram may lack its padding.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(received)
}

/// Attributes of a message or of another attribute, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Attributes<'a> {
    /// Refuses anything that is not a whole number of whole attributes: a
    /// table read in part must not pass for the table.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, NetlinkError> {
        NlasIterator::new(bytes)
            .map(|attribute| {
                let attribute = attribute.map_err(|_| NetlinkError::Malformed)?;
                let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
                let value = attribute.into_inner().get(4..length);
                Ok((kind, value.ok_or(NetlinkError::Malformed)?))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Behind a fixed header, such as `struct nfgenmsg`.
    pub(crate) fn after(payload: &'a [u8], header: usize) -> Result<Self, NetlinkError> {
        Self::parse(payload.get(header..).ok_or(NetlinkError::Malformed)?)
    }

    pub(crate) fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.0.iter().find(|(k, _)| *k == kind).map(|(_, value)| *value)
    }

    pub(crate) fn nested(&self, kind: u16) -> Result<Attributes<'a>, NetlinkError> {
        self.get(kind).map_or_else(|| Ok(Attributes::default()), Self::parse)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &'a [u8])> + '_ {
        self.0.iter().copied()
    }

    /// A number in network byte order, as netfilter has them.
    pub(crate) fn be32(&self, kind: u16) -> Result<Option<u32>, NetlinkError> {
        self.get(kind)
            .map(|value| value.try_into().map(u32::from_be_bytes))
            .transpose()
            .map_err(|_| NetlinkError::Malformed)
    }

    /// A name, without its closing zero.
    pub(crate) fn name(&self, kind: u16) -> Option<&'a [u8]> {
        self.get(kind).map(|value| value.strip_suffix(&[0]).unwrap_or(value))
    }
}

/// An attribute as bytes, for requests.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The messages of a recorded dump, which has sequence number 1.
#[cfg(test)]
pub(crate) fn recorded(bytes: &[u8]) -> Result<Vec<Message>, NetlinkError> {
    Ok(split(bytes, 1)?.messages)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_comes_back_as_the_message_it_is() {
        let body = attribute(3, b"nat\0");
        let bytes = request(77, NLM_F_REQUEST, 5, &body);
        let received = split(&bytes, 5).unwrap();
        assert_eq!(received.messages, [Message { kind: 77, payload: body.clone() }]);
        assert!(split(&bytes, 6).unwrap().messages.is_empty());
        let attributes = Attributes::parse(&body).unwrap();
        assert_eq!(attributes.name(3), Some(&b"nat"[..]));
        assert_eq!(attributes.get(4), None);
    }

    #[test]
    fn errors_and_the_end_of_a_dump_are_told_apart() {
        let refused = request(NLMSG_ERROR, 0, 1, &(-13_i32).to_ne_bytes());
        assert_eq!(split(&refused, 1).unwrap().error, Some(13));
        assert!(split(&request(NLMSG_DONE, 0, 1, &[0; 4]), 1).unwrap().done);
        let interrupted = request(99, NLM_F_DUMP_INTR, 1, &[]);
        assert!(split(&interrupted, 1).unwrap().interrupted);
    }

    #[test]
    fn a_cut_message_is_no_message() {
        let bytes = request(77, 0, 5, &attribute(1, &[1, 2, 3, 4]));
        for end in 1..bytes.len() {
            assert!(split(&bytes[..end], 5).is_err(), "{end} bytes");
        }
        assert!(Attributes::parse(&[8, 0, 1, 0, 1, 2]).is_err());
        assert!(Attributes::parse(&[3, 0, 1, 0]).is_err());
    }

    #[test]
    fn routing_can_be_asked_without_any_privilege() {
        let mut netlink = Netlink::open(libc::NETLINK_ROUTE).unwrap();
        let links = netlink.dump(libc::RTM_GETLINK, &[0; 16]).unwrap();
        assert!(links.iter().any(|link| link.kind == libc::RTM_NEWLINK));
        let refused = netlink.dump(libc::RTM_GETLINK - 2, &[0; 16]).unwrap_err();
        assert!(matches!(refused, NetlinkError::Refused(_)), "{refused}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = split(&bytes, 0);
            let _ = Attributes::parse(&bytes);
        }
    }
}
