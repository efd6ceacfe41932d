//! The few bytes of DNS the measuring clients need.

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Question types the clients can ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[value(rename_all = "UPPERCASE")]
pub enum QueryType {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Text.
    Txt,
}

impl QueryType {
    const fn code(self) -> u8 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
            Self::Txt => 16,
        }
    }
}

/// Length of the fixed header.
pub const HEADER_BYTES: usize = 12;

/// One question as it goes on the wire, recursion desired; with `edns`, an OPT
/// record that offers answers of so many bytes.
pub fn query(id: u16, name: &str, kind: QueryType, edns: Option<u16>) -> Result<Vec<u8>> {
    let mut message = vec![0; HEADER_BYTES];
    message[..2].copy_from_slice(&id.to_be_bytes());
    message[2] = 0x01; // recursion desired
    message[5] = 1; // one question
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).unwrap_or(u8::MAX);
        ensure!((1..64).contains(&length), "not a DNS name: {name}");
        message.push(length);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, kind.code(), 0, 1]);
    if let Some(bytes) = edns {
        let [high, low] = bytes.to_be_bytes();
        message[11] = 1; // one additional record
        message.extend_from_slice(&[0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]);
    }
    Ok(message)
}

/// Transaction id of a message.
#[must_use]
pub fn id(message: &[u8]) -> u16 {
    message.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))
}

/// Whether a response answers a query made by [`query`]: the same id and the
/// same question.
#[must_use]
pub fn answers(response: &[u8], query: &[u8]) -> bool {
    let question = |message: &[u8]| {
        let name = message.get(HEADER_BYTES..)?.iter().position(|byte| *byte == 0)?;
        message.get(HEADER_BYTES..HEADER_BYTES + name + 5).map(<[u8]>::to_ascii_lowercase)
    };
    id(response) == id(query) && question(response) == question(query)
}

/// Transaction id and response code of a response; `None` for anything else.
#[must_use]
pub fn response(message: &[u8]) -> Option<(u16, &'static str)> {
    if message.len() < HEADER_BYTES || message[2] & 0x80 == 0 {
        return None;
    }
    let code = match message[3] & 0x0f {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        _ => "OTHER",
    };
    Some((u16::from_be_bytes([message[0], message[1]]), code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_the_bytes_of_rfc_1035() {
        let message = query(0x1234, "a.bc.", QueryType::Aaaa, None).unwrap();
        assert_eq!(
            message,
            [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 2, b'b', b'c', 0, 0, 28, 0, 1]
        );
    }

    #[test]
    fn an_empty_label_is_refused() {
        assert!(query(1, "a..b", QueryType::A, None).is_err());
    }

    #[test]
    fn only_responses_are_taken_for_responses() {
        let mut message = query(7, "a", QueryType::A, None).unwrap();
        assert_eq!(response(&message), None);
        message[2] |= 0x80;
        message[3] |= 3;
        assert_eq!(response(&message), Some((7, "NXDOMAIN")));
        assert_eq!(response(&message[..11]), None);
    }

    #[test]
    fn an_answer_has_the_id_and_the_question_of_its_query() {
        let ask = |id, name| query(id, name, QueryType::A, Some(4096)).unwrap();
        assert!(answers(&query(7, "A.b", QueryType::A, None).unwrap(), &ask(7, "a.b")));
        assert!(!answers(&ask(8, "a.b"), &ask(7, "a.b")));
        assert!(!answers(&ask(7, "a.c"), &ask(7, "a.b")));
        assert!(!answers(&[0, 7], &ask(7, "a.b")));
    }

    #[test]
    fn edns_offers_a_size() {
        let message = query(7, "a", QueryType::Txt, Some(4096)).unwrap();
        assert_eq!(message[10..12], [0, 1]);
        assert!(message.ends_with(&[0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]));
    }
}
