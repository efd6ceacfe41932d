//! Whole messages, for asking: a query as a resolver sends it, and the check
//! whether bytes that came back are its answer.

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::RecordType,
};
use serde::Serialize;

use super::{Question, rcode_name};

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Answer {
    /// Response code, by name.
    pub rcode: String,
    /// It was cut short to fit a datagram.
    pub truncated: bool,
    /// Records in the answer section.
    pub records: usize,
}

impl Answer {
    /// NOERROR with something in it.
    #[must_use]
    pub fn has_records(&self) -> bool {
        self.is_noerror() && self.records > 0
    }

    /// Response code 0.
    #[must_use]
    pub fn is_noerror(&self) -> bool {
        self.rcode == "NOERROR"
    }
}

/// Why bytes are not the answer to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum NotAnAnswer {
    /// No DNS message.
    #[error("it is no DNS message")]
    Malformed,
    /// A query.
    #[error("it is a query, not a response")]
    Query,
    /// Another id.
    #[error("its id is not the query's")]
    Id,
    /// Another question.
    #[error("its question is not the query's")]
    Question,
}

/// A query as the C libraries send it: recursion desired, no EDNS.
///
/// # Errors
/// When the name cannot be encoded, which a [`super::Name`] always can.
pub fn encode_query(id: u16, question: &Question) -> Result<Vec<u8>, String> {
    let mut query = Query::query(question.name.wire().clone(), RecordType::from(question.qtype.0));
    query.set_query_class(hickory_proto::rr::DNSClass::IN);
    let mut message = Message::new();
    message
        .set_id(id)
        .set_message_type(MessageType::Query)
        .set_op_code(OpCode::Query)
        .set_recursion_desired(true)
        .add_query(query);
    message.to_vec().map_err(|error| error.to_string())
}

/// Reads `bytes` as the answer to the query with this id and question.
///
/// # Errors
/// Why it is not. Any bytes are safe to pass.
pub fn read_answer(bytes: &[u8], id: u16, question: &Question) -> Result<Answer, NotAnAnswer> {
    let message = Message::from_vec(bytes).map_err(|_| NotAnAnswer::Malformed)?;
    if message.message_type() != MessageType::Response {
        return Err(NotAnAnswer::Query);
    }
    if message.id() != id {
        return Err(NotAnAnswer::Id);
    }
    // Servers may leave the question out of an error.
    let asked = message.queries().first();
    let code = u16::from(message.response_code());
    let same = asked.map_or(code != 0, |asked| {
        asked.name().eq_ignore_root(question.name.wire())
            && u16::from(asked.query_type()) == question.qtype.0
    });
    if !same {
        return Err(NotAnAnswer::Question);
    }
    Ok(Answer {
        rcode: rcode_name(u8::try_from(code & 0xf).unwrap_or_default()).into_owned(),
        truncated: message.truncated(),
        records: message.answers().len(),
    })
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::ResponseCode;
    use proptest::prelude::*;

    use super::*;
    use crate::dns::QType;

    fn question(name: &str) -> Question {
        Question { name: name.parse().unwrap(), qtype: QType::A }
    }

    fn reply(id: u16, name: &str, change: impl Fn(&mut Message)) -> Vec<u8> {
        let query = Message::from_vec(&encode_query(id, &question(name)).unwrap()).unwrap();
        let mut message = Message::new();
        message.set_id(id).set_message_type(MessageType::Response);
        message.add_queries(query.queries().iter().cloned());
        change(&mut message);
        message.to_vec().unwrap()
    }

    #[test]
    fn a_query_is_what_a_resolver_sends() {
        let bytes = encode_query(0x1234, &question("a.example")).unwrap();
        assert_eq!(bytes[..12], [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Question::parse(&bytes[12..]), Ok(question("a.example")));
    }

    #[test]
    fn an_answer_tells_code_and_truncation() {
        let bytes = reply(7, "a.example", |message| {
            message.set_response_code(ResponseCode::NXDomain).set_truncated(true);
        });
        assert_eq!(
            read_answer(&bytes, 7, &question("A.Example.")),
            Ok(Answer { rcode: "NXDOMAIN".to_owned(), truncated: true, records: 0 })
        );
    }

    #[test]
    fn what_is_not_the_answer_is_refused_with_the_reason() {
        let asked = question("a.example");
        let read = |bytes: &[u8]| read_answer(bytes, 7, &asked);
        assert_eq!(read(&reply(8, "a.example", |_| {})), Err(NotAnAnswer::Id));
        assert_eq!(read(&reply(7, "b.example", |_| {})), Err(NotAnAnswer::Question));
        assert_eq!(read(&encode_query(7, &asked).unwrap()), Err(NotAnAnswer::Query));
        assert_eq!(read(b"\x00\x07"), Err(NotAnAnswer::Malformed));
    }

    #[test]
    fn an_error_may_leave_the_question_out_but_an_answer_may_not() {
        let asked = question("a.example");
        let bare = |code| {
            let mut message = Message::new();
            message.set_id(7).set_message_type(MessageType::Response).set_response_code(code);
            message.to_vec().unwrap()
        };
        assert_eq!(read_answer(&bare(ResponseCode::FormErr), 7, &asked).unwrap().rcode, "FORMERR");
        assert_eq!(
            read_answer(&bare(ResponseCode::NoError), 7, &asked),
            Err(NotAnAnswer::Question)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = read_answer(&bytes, 7, &question("a.example"));
        }
    }
}
