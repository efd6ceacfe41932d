//! What a DNS server's own log would say of a query and its answer besides the
//! question and the header: class, sizes and EDNS.

use serde::{Deserialize, Serialize};

use super::record::name_at;

/// Length of a message's header, which is not part of the bytes read here.
const HEADER_LEN: usize = 12;
/// Type and class behind a question's name.
const QUESTION_TAIL: usize = 4;
/// Type, class, time to live and length behind a record's name.
const RECORD_TAIL: usize = 10;
/// Type of the pseudo-record that carries EDNS (RFC 6891).
const OPT: u16 = 41;
/// Flag DO in the low half of an OPT record's time to live (RFC 3225).
const DNSSEC_OK: u32 = 0x8000;

/// A message behind its header.
#[derive(Clone, Copy, Debug)]
pub struct BehindHeader<'a> {
    /// Its first bytes.
    pub kept: &'a [u8],
    /// How many there are in all.
    pub len: u16,
}

/// What was seen of a query and its answer at a server. `None`: not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Of the query.
    pub query: Option<QuerySize>,
    /// Of the answer.
    pub answer: Option<AnswerSize>,
}

/// A query, seen whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuerySize {
    /// The class asked for.
    pub class: u16,
    /// Its length in bytes, header included.
    pub bytes: usize,
    /// Its EDNS record.
    pub edns: Option<Edns>,
}

/// The EDNS record of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edns {
    /// How large an answer over UDP may be, bytes.
    pub udp_bytes: u16,
    /// Whether DNSSEC records are wanted (flag DO).
    pub dnssec_ok: bool,
    /// Whether there are options in it.
    pub has_options: bool,
}

/// An answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerSize {
    /// The class of its question; `None` when it has none.
    pub class: Option<u16>,
    /// Its length in bytes with every name written out, header included. `None`
    /// when not all of it was kept, when it has a record of a kind whose names are
    /// not known here, or an EDNS record, which servers add to what they count.
    pub uncompressed_bytes: Option<usize>,
}

impl BehindHeader<'_> {
    fn is_whole(&self) -> bool {
        self.kept.len() == usize::from(self.len)
    }
}

impl QuerySize {
    /// Reads a query; `None` unless it is one question, with at most an EDNS record
    /// behind it, and all there.
    #[must_use]
    pub fn of(message: BehindHeader<'_>) -> Option<Self> {
        if !message.is_whole() {
            return None;
        }
        let question = Section::question(message.kept)?;
        let edns = match question.end {
            end if end == message.kept.len() => None,
            end => Some(edns(message.kept, end)?),
        };
        let bytes = HEADER_LEN + message.kept.len();
        Some(Self { class: question.class, bytes, edns })
    }
}

/// The EDNS record that is all there is from `at` on.
fn edns(bytes: &[u8], at: usize) -> Option<Edns> {
    let record = Record::at(bytes, at)?;
    (record.rtype == OPT && record.end == bytes.len()).then_some(Edns {
        udp_bytes: record.class,
        dnssec_ok: record.ttl & DNSSEC_OK != 0,
        has_options: record.data < record.end,
    })
}

impl AnswerSize {
    /// Reads an answer as far as it was kept.
    #[must_use]
    pub fn of(message: BehindHeader<'_>) -> Self {
        let Some(question) = Section::question(message.kept) else { return Self::default() };
        let uncompressed_bytes =
            if message.is_whole() { uncompressed(message.kept, &question) } else { None };
        Self { class: Some(question.class), uncompressed_bytes }
    }
}

fn uncompressed(bytes: &[u8], question: &Section) -> Option<usize> {
    let mut total = HEADER_LEN + question.end;
    let mut at = question.end;
    while at < bytes.len() {
        let record = Record::at(bytes, at)?;
        total += record.name_len + RECORD_TAIL + data_len(bytes, &record)?;
        at = record.end;
    }
    Some(total)
}

/// Length of a record's data with its names written out.
fn data_len(bytes: &[u8], record: &Record) -> Option<usize> {
    // Bytes in front of its names, how many these are, and bytes behind them.
    let (front, names, behind) = match record.rtype {
        // A and AAAA have none.
        1 | 28 => return Some(record.end - record.data),
        // NS, CNAME, PTR.
        2 | 5 | 12 => (0, 1, 0),
        // SOA.
        6 => (0, 2, 20),
        // MX.
        15 => (2, 1, 0),
        // SRV.
        33 => (6, 1, 0),
        _ => return None,
    };
    let mut len = front + behind;
    let mut at = record.data + front;
    for _ in 0..names {
        let (name, end) = name_at(bytes, at)?;
        len += name.wire_len();
        at = end;
    }
    (at + behind == record.end).then_some(len)
}

/// The question in front.
struct Section {
    class: u16,
    /// Index behind it.
    end: usize,
}

impl Section {
    fn question(bytes: &[u8]) -> Option<Self> {
        let (_, at) = name_at(bytes, 0)?;
        let end = at + QUESTION_TAIL;
        Some(Self { class: word(bytes, at + 2)?, end })
    }
}

/// A resource record by its place.
struct Record {
    /// Length of its name, written out.
    name_len: usize,
    rtype: u16,
    class: u16,
    ttl: u32,
    /// Index of its data.
    data: usize,
    /// Index behind it.
    end: usize,
}

impl Record {
    fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let (name, at) = name_at(bytes, at)?;
        let ttl = u32::from(word(bytes, at + 4)?) << 16 | u32::from(word(bytes, at + 6)?);
        let data = at + RECORD_TAIL;
        let end = data + usize::from(word(bytes, at + 8)?);
        (end <= bytes.len()).then_some(Self {
            name_len: name.wire_len(),
            rtype: word(bytes, at)?,
            class: word(bytes, at + 2)?,
            ttl,
            data,
            end,
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `a.b IN A`, then these bytes.
    fn message(behind: &[u8]) -> Vec<u8> {
        [&[1, b'a', 1, b'b', 0, 0, 1, 0, 1], behind].concat()
    }

    fn whole(bytes: &[u8]) -> BehindHeader<'_> {
        BehindHeader { kept: bytes, len: u16::try_from(bytes.len()).unwrap() }
    }

    fn size(behind: &[u8]) -> Option<usize> {
        AnswerSize::of(whole(&message(behind))).uncompressed_bytes
    }

    #[test]
    fn a_query_is_its_question_and_at_most_edns() {
        let plain = QuerySize { class: 1, bytes: 21, edns: None };
        assert_eq!(QuerySize::of(whole(&message(&[]))), Some(plain));
        let edns = |options| Edns { udp_bytes: 1232, dnssec_ok: true, has_options: options };
        let opt = [0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0];
        let asked = QuerySize { bytes: 32, edns: Some(edns(false)), ..plain };
        assert_eq!(QuerySize::of(whole(&message(&opt))), Some(asked));
        let cookie = [0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 4, 0, 10, 0, 0];
        let asked = QuerySize { bytes: 36, edns: Some(edns(true)), ..plain };
        assert_eq!(QuerySize::of(whole(&message(&cookie))), Some(asked));
    }

    #[test]
    fn a_query_that_is_cut_or_goes_on_is_not_read() {
        let bytes = message(&[]);
        assert_eq!(QuerySize::of(BehindHeader { kept: &bytes, len: 300 }), None);
        assert_eq!(QuerySize::of(whole(&message(&[0]))), None);
        assert_eq!(QuerySize::of(whole(&message(&[0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]))), None);
        assert_eq!(QuerySize::of(whole(&[])), None);
    }

    #[test]
    fn an_answers_names_are_written_out() {
        let address = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, 1];
        assert_eq!(size(&[]), Some(21));
        assert_eq!(size(&address), Some(21 + 5 + 10 + 4));
        // An alias for w.b.
        let alias = [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 5, 0, 4, 1, b'w', 0xc0, 14];
        assert_eq!(size(&alias), Some(21 + 5 + 10 + 5));
        assert_eq!(size(&[alias, address].concat()), Some(21 + 20 + 19));
        let service = [0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 5, 0, 8, 0, 0, 0, 1, 0, 53, 0xc0, 14];
        assert_eq!(size(&service), Some(21 + 15 + 6 + 3));
    }

    #[test]
    fn what_is_not_certain_has_no_size() {
        let opt = [0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0];
        assert_eq!(size(&opt), None);
        let text = [0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 5, 0, 2, 1, b'x'];
        assert_eq!(size(&text), None);
        let wrong = [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 5, 0, 5, 1, b'w', 0xc0, 14, 0];
        assert_eq!(size(&wrong), None);
        let bytes = message(&[]);
        let cut = AnswerSize::of(BehindHeader { kept: &bytes, len: 300 });
        assert_eq!(cut, AnswerSize { class: Some(1), uncompressed_bytes: None });
        assert_eq!(AnswerSize::of(whole(&[])), AnswerSize::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), len in any::<u16>()) {
            let behind = message(&bytes);
            for read in [whole(&bytes), whole(&behind), BehindHeader { kept: &bytes, len }] {
                let _ = (QuerySize::of(read), AnswerSize::of(read));
            }
        }
    }
}
