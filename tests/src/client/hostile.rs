//! `lab client hostile`: sends what no resolver sends to a DNS port: messages that are
//! cut, lie about themselves, or are no DNS at all.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::message::HEADER_BYTES;
use super::query::PORT;
use super::report::Report;

/// Where to, and how much.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct Args {
    /// Address to send to.
    #[arg(long)]
    pub server: IpAddr,
    /// How often every kind of message is sent.
    #[arg(long, default_value_t = 1)]
    pub rounds: u16,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing at all.
    Empty,
    /// Shorter than a header.
    CutHeader,
    /// A header that promises a question, and none.
    NoQuestion,
    /// A header that promises 65,535 of everything.
    ManyRecords,
    /// A name that points to itself.
    PointerLoop,
    /// A name that points beyond the end.
    PointerBeyond,
    /// A label that is longer than what is left.
    CutLabel,
    /// The longest name there may be: 255 bytes.
    LongestName,
    /// A name of more than 255 bytes.
    TooLongName,
    /// Labels of bytes that are no text in any encoding.
    NoText,
    /// Labels that would be markup, a new line, or the end of a string elsewhere.
    Markup,
    /// Any bytes.
    Random,
    /// An answer to nothing.
    Answer,
}

const KINDS: [Kind; 13] = [
    Kind::Empty,
    Kind::CutHeader,
    Kind::NoQuestion,
    Kind::ManyRecords,
    Kind::PointerLoop,
    Kind::PointerBeyond,
    Kind::CutLabel,
    Kind::LongestName,
    Kind::TooLongName,
    Kind::NoText,
    Kind::Markup,
    Kind::Random,
    Kind::Answer,
];

/// Send; the report counts what has the header of a query: twelve bytes, and the flag
/// of answers not set.
pub fn run(args: &Args) -> Result<Report> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let server = SocketAddr::new(args.server, PORT);
    let mut report = Report::default();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut id = 0;
    for _ in 0..args.rounds {
        for kind in KINDS {
            let message = message(kind, id, &mut random);
            id = id.wrapping_add(1);
            socket.send_to(&message, server)?;
            report.sent += u64::from(is_query(&message));
        }
    }
    Ok(report)
}

fn is_query(message: &[u8]) -> bool {
    message.len() >= HEADER_BYTES && message[2] & 0x80 == 0
}

fn message(kind: Kind, id: u16, random: &mut Random) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let header = [high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let with = |name: &[u8]| [&header, name, &[0, 1, 0, 1]].concat();
    let labels = |labels: &[&[u8]]| {
        let mut name: Vec<u8> = labels
            .iter()
            .flat_map(|label| [&[u8::try_from(label.len()).unwrap_or(63)], *label].concat())
            .collect();
        name.push(0);
        with(&name)
    };
    match kind {
        Kind::Empty => Vec::new(),
        Kind::CutHeader => header[..usize::from(id) % HEADER_BYTES].to_vec(),
        Kind::NoQuestion => header.to_vec(),
        Kind::ManyRecords => [&[high, low, 1, 0][..], &[0xff; 8]].concat(),
        Kind::PointerLoop => with(&[0xc0, 12]),
        Kind::PointerBeyond => with(&[0xff, 0xff]),
        Kind::CutLabel => [&header, &[63][..], b"abc"].concat(),
        Kind::LongestName => labels(&[&[b'a'; 63], &[b'b'; 63], &[b'c'; 63], &[b'd'; 61]]),
        Kind::TooLongName => labels(&[&[b'x'; 63][..]; 6]),
        Kind::NoText => labels(&[&[0xff, 0xfe, 0, 0x80], &[0xc3, 0x28], &[0x1b, b'[', b'2', b'J']]),
        Kind::Markup => labels(&[b"<script>alert(1)</script>", b"\"}\n# HELP x", b"a\\b'&\r"]),
        Kind::Random => {
            let length = usize::from(random.byte()) * 5;
            let mut bytes: Vec<u8> = (0..length).map(|_| random.byte()).collect();
            // Two messages of one id would be one query asked twice.
            for (place, byte) in bytes.iter_mut().zip([high, low]) {
                *place = byte;
            }
            bytes
        }
        Kind::Answer => [&[high, low, 0x81][..], &header[3..], &[1, b'a', 0, 0, 1, 0, 1]].concat(),
    }
}

/// Marsaglia's xorshift: the same bytes in every run.
struct Random(u64);

impl Random {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()[3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_what_it_says() {
        let mut random = Random(7);
        let mut of = |kind| message(kind, 5, &mut random);
        assert_eq!(of(Kind::CutHeader).len(), 5);
        assert_eq!(of(Kind::LongestName).len(), 12 + 255 + 4);
        assert!(of(Kind::TooLongName).len() > 12 + 255 + 4);
        assert!(!is_query(&of(Kind::Answer)) && !is_query(&of(Kind::Empty)));
        for kind in [Kind::NoQuestion, Kind::ManyRecords, Kind::PointerLoop, Kind::NoText] {
            assert!(is_query(&of(kind)), "{kind:?}");
        }
        for kind in KINDS {
            let message = of(kind);
            assert!(message.len() < 2 || message[..2] == [0, 5], "{kind:?}");
        }
    }
}
