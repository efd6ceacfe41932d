//! The first record behind a message's question: whose it is, and its type.

use hickory_proto::{
    rr,
    serialize::binary::{BinDecodable, BinDecoder},
};
use serde::{Deserialize, Serialize};

use super::{Name, QType};

/// Length of a header in front of the bytes handed in; compressed names count
/// from the header's first byte.
const HEADER_LEN: usize = 12;
/// Type and class behind a question's name.
const QUESTION_TAIL: u16 = 4;
/// Longest name on the wire, bytes.
const MAX_NAME: usize = 255;
/// The two bits that mark a compressed name.
const POINTER: u8 = 0xc0;
/// How often a name may point back before it is taken for a loop.
const MAX_POINTERS: usize = 16;

/// A resource record, as far as it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The name it belongs to.
    pub name: Name,
    /// Its type.
    #[serde(rename = "type")]
    pub rtype: QType,
}

impl Record {
    /// Reads the first record behind the question, from a message's bytes
    /// behind its header. `None` when there is none in the bytes. It need not
    /// be an answer: a message without answers goes on with its authority.
    #[must_use]
    pub fn first_behind_question(bytes: &[u8]) -> Option<Self> {
        let mut decoder = BinDecoder::new(bytes);
        rr::Name::read(&mut decoder).ok()?;
        decoder.read_slice(usize::from(QUESTION_TAIL)).ok()?;
        let (name, after) = name_at(bytes, decoder.index())?;
        let rtype = u16::from_be_bytes(bytes.get(after..after + 2)?.try_into().ok()?);
        Some(Self { name, rtype: QType(rtype) })
    }

    /// Whether it holds an address or leads to another name: an answer to a
    /// question for addresses.
    #[must_use]
    pub fn answers_for_addresses(&self) -> bool {
        const CNAME: QType = QType(5);
        [QType::A, QType::AAAA, CNAME].contains(&self.rtype)
    }
}

/// The name that starts at `at`, pointers followed, and the index behind it.
fn name_at(bytes: &[u8], at: usize) -> Option<(Name, usize)> {
    let mut labels: Vec<&[u8]> = Vec::new();
    let (mut index, mut behind, mut pointers, mut length) = (at, None, 0, 0);
    loop {
        let first = *bytes.get(index)?;
        if first & POINTER == POINTER {
            let low = *bytes.get(index + 1)?;
            behind.get_or_insert(index + 2);
            let target = usize::from(u16::from_be_bytes([first & !POINTER, low]));
            index = target.checked_sub(HEADER_LEN)?;
            pointers += 1;
            if pointers > MAX_POINTERS {
                return None;
            }
            continue;
        }
        if first & POINTER != 0 {
            return None;
        }
        if first == 0 {
            behind.get_or_insert(index + 1);
            break;
        }
        let end = index + 1 + usize::from(first);
        labels.push(bytes.get(index + 1..end)?);
        length += usize::from(first) + 1;
        if length > MAX_NAME {
            return None;
        }
        index = end;
    }
    let mut name = rr::Name::from_labels(labels).ok()?;
    name.set_fqdn(true);
    Some((Name::new(name), behind?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `a.b IN A`, then these bytes.
    fn message(behind: &[u8]) -> Vec<u8> {
        [&[1, b'a', 1, b'b', 0, 0, 1, 0, 1], behind].concat()
    }

    fn first(behind: &[u8]) -> Option<(String, String)> {
        let record = Record::first_behind_question(&message(behind))?;
        Some((record.name.to_string(), record.rtype.to_string()))
    }

    #[test]
    fn a_pointer_to_the_question_is_the_questions_name() {
        let record = first(&[0xc0, 12, 0, 1, 0, 1]);
        assert_eq!(record, Some(("a.b.".into(), "A".into())));
    }

    #[test]
    fn a_name_of_its_own_is_read_and_may_end_in_a_pointer() {
        let record = first(&[3, b'w', b'w', b'w', 0xc0, 14, 0, 5]);
        assert_eq!(record, Some(("www.b.".into(), "CNAME".into())));
        assert_eq!(first(&[0, 0, 41]), Some((".".into(), "OPT".into())));
    }

    #[test]
    fn what_is_cut_off_or_loops_is_no_record() {
        assert_eq!(first(&[]), None);
        assert_eq!(first(&[0xc0]), None);
        assert_eq!(first(&[0xc0, 21, 0, 1]), None);
        assert_eq!(first(&[0xc0, 2, 0, 1]), None);
        assert_eq!(first(&[0xc0, 12, 0]), None);
    }

    #[test]
    fn only_addresses_and_aliases_answer_for_addresses() {
        let of = |rtype| Record { name: "a.".parse().unwrap(), rtype: QType(rtype) };
        assert!([1, 5, 28].iter().all(|&rtype| of(rtype).answers_for_addresses()));
        assert!([2, 6, 41].iter().all(|&rtype| !of(rtype).answers_for_addresses()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Record::first_behind_question(&bytes);
        }
    }
}
