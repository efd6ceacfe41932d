//! The question of a DNS message, parsed from the raw bytes behind its header.

use std::{fmt, str::FromStr};

use hickory_proto::{
    rr::{self, RecordType},
    serialize::binary::{BinDecodable, BinDecoder},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeStruct};

use super::Name;

/// A query type, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QType(pub u16);

impl QType {
    /// IPv4 address.
    pub const A: Self = Self(1);
    /// IPv6 address.
    pub const AAAA: Self = Self(28);
}

impl fmt::Display for QType {
    /// The mnemonic, or `TYPEn` (RFC 3597) where there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match RecordType::from(self.0) {
            RecordType::Unknown(_) | RecordType::ZERO => f.pad(&format!("TYPE{}", self.0)),
            known => f.pad(known.into()),
        }
    }
}

impl FromStr for QType {
    type Err = String;

    /// A mnemonic in any case, `TYPEn`, or a number.
    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let digits = upper.strip_prefix("TYPE").unwrap_or(&upper);
        if let Ok(number) = digits.parse() {
            return Ok(Self(number));
        }
        RecordType::from_str(&upper)
            .map(|known| Self(known.into()))
            .map_err(|_| "not a record type; use a mnemonic such as AAAA, or TYPEn".to_owned())
    }
}

impl Serialize for QType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for QType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Question {
    /// The name asked for.
    pub name: Name,
    /// The type asked for.
    #[serde(rename = "type")]
    pub qtype: QType,
}

/// The bytes hold no question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// There are no bytes: the message was not captured, or asks nothing.
    #[error("the question was not captured")]
    Empty,
    /// The name is cut, too long, or compressed.
    #[error("the question's name is malformed")]
    Name,
    /// The bytes end before the type.
    #[error("the question ends before its type")]
    Type,
}

impl Question {
    /// Reads the first question of a question section, from its first byte
    /// (which follows the DNS header). The class is not looked at, so it may
    /// be cut off.
    ///
    /// A compressed name is an error: the first name of a message has nothing
    /// in front of it that it could point to.
    ///
    /// # Errors
    /// When the bytes are not a question. Any bytes are safe to pass.
    pub fn parse(bytes: &[u8]) -> Result<Self, QuestionError> {
        if bytes.is_empty() {
            return Err(QuestionError::Empty);
        }
        let mut decoder = BinDecoder::new(bytes);
        let name = rr::Name::read(&mut decoder).map_err(|_| QuestionError::Name)?;
        let qtype = u16::read(&mut decoder).map_err(|_| QuestionError::Type)?;
        Ok(Self { name: Name::new(name), qtype: QType(qtype) })
    }

    /// Serialises a question that may be unknown, with the same keys either
    /// way: for `#[serde(flatten, serialize_with = ..)]`, where a plain
    /// `Option` would leave the keys out.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize_or_null<S: Serializer>(
        question: &Option<Self>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Question", 2)?;
        fields.serialize_field("name", &question.as_ref().map(|q| &q.name))?;
        fields.serialize_field("type", &question.as_ref().map(|q| q.qtype))?;
        fields.end()
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.qtype)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A question section: the labels, then type and class IN.
    fn wire(labels: &[&[u8]], qtype: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        for label in labels {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend_from_slice(label);
        }
        bytes.push(0);
        bytes.extend(qtype.to_be_bytes());
        bytes.extend([0, 1]);
        bytes
    }

    #[test]
    fn a_question_is_a_name_and_a_type() {
        let question = Question::parse(&wire(&[b"race", b"test", b"svc"], 28)).unwrap();
        assert_eq!(question.to_string(), "race.test.svc. AAAA");
        assert_eq!(question.qtype, QType::AAAA);
        assert_eq!(
            serde_json::to_string(&question).unwrap(),
            r#"{"name":"race.test.svc.","type":"AAAA"}"#
        );
    }

    #[test]
    fn the_root_and_rare_types_are_questions_too() {
        assert_eq!(Question::parse(&wire(&[], 2)).unwrap().to_string(), ". NS");
        assert_eq!(Question::parse(&wire(&[], 65)).unwrap().to_string(), ". HTTPS");
        assert_eq!(Question::parse(&wire(&[], 64000)).unwrap().to_string(), ". TYPE64000");
        assert_eq!(Question::parse(&wire(&[], 0)).unwrap().to_string(), ". TYPE0");
        assert_eq!(Question::parse(&wire(&[], 255)).unwrap().to_string(), ". ANY");
    }

    #[test]
    fn types_read_back_from_what_they_print() {
        for (text, number) in
            [("A", 1), ("aaaa", 28), ("SRV", 33), ("TYPE64000", 64000), ("65", 65)]
        {
            assert_eq!(text.parse(), Ok(QType(number)), "{text}");
        }
        for text in ["", "TYPE", "TYPE65536", "x\x1b"] {
            assert!(text.parse::<QType>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_of_255_bytes_is_read_and_one_of_256_refused() {
        let label = [b'a'; 63];
        let longest = wire(&[&label, &label, &label, &label[..61]], 1);
        let name = Question::parse(&longest).unwrap().name.to_string();
        assert_eq!(name.len(), 254);
        let too_long = wire(&[&label, &label, &label, &label[..62]], 1);
        assert_eq!(Question::parse(&too_long), Err(QuestionError::Name));
    }

    #[test]
    fn every_cut_of_a_question_is_an_error_until_its_type_is_complete() {
        let bytes = wire(&[b"race", b"test"], 1);
        for len in 0..bytes.len() - 2 {
            assert!(Question::parse(&bytes[..len]).is_err(), "{len}");
        }
        assert!(Question::parse(&bytes[..bytes.len() - 2]).is_ok());
        assert_eq!(Question::parse(&[]), Err(QuestionError::Empty));
    }

    #[test]
    fn compression_is_refused_wherever_it_points() {
        for pointer in [0xc000_u16, 0xc001, 0xc002, 0xc00c, 0xffff] {
            let mut bytes = b"\x01a".to_vec();
            bytes.extend(pointer.to_be_bytes());
            bytes.extend([0, 1, 0, 1]);
            assert_eq!(Question::parse(&bytes), Err(QuestionError::Name));
            assert_eq!(Question::parse(&bytes[2..]), Err(QuestionError::Name));
        }
    }

    #[test]
    fn an_unknown_question_keeps_its_keys() {
        #[derive(Serialize)]
        struct Holder {
            #[serde(flatten, serialize_with = "Question::serialize_or_null")]
            question: Option<Question>,
        }
        let none = serde_json::to_string(&Holder { question: None }).unwrap();
        assert_eq!(none, r#"{"name":null,"type":null}"#);
        let question = Question::parse(&wire(&[b"a"], 1)).ok();
        let some = serde_json::to_string(&Holder { question }).unwrap();
        assert_eq!(some, r#"{"name":"a.","type":"A"}"#);
    }

    proptest! {
        #[test]
        fn any_question_reads_back_from_what_it_is_written_as(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            qtype in any::<u16>(),
        ) {
            let labels: Vec<&[u8]> = bytes.chunks(63).collect();
            let question = Question::parse(&wire(&labels, qtype)).unwrap();
            let text = serde_json::to_string(&question).unwrap();
            let again: Question = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(again.to_string(), question.to_string());
            prop_assert_eq!(again, question);
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(question) = Question::parse(&bytes) {
                prop_assert!(question.name.to_string().bytes().all(|b| b.is_ascii_graphic()));
            }
        }

        #[test]
        fn any_labels_and_type_read_back(
            labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            qtype in any::<u16>(),
        ) {
            let labels: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
            let question = Question::parse(&wire(&labels, qtype)).unwrap();
            prop_assert_eq!(question.qtype, QType(qtype));
            prop_assert!(question.name.to_string().bytes().all(|b| b.is_ascii_graphic()));
        }
    }
}
