//! A query and its answer, made beforehand: only the id differs between two
//! transactions.

use anyhow::Result;

use crate::client::message::{self, QueryType};
use crate::lab::server;

/// Both messages, with the id of the current transaction.
#[derive(Debug)]
pub struct Messages {
    /// What a client sends.
    pub query: Vec<u8>,
    /// What a server sends back.
    pub answer: Vec<u8>,
    id: u16,
}

impl Messages {
    /// With id 0.
    ///
    /// # Errors
    /// When no query can be made.
    pub fn new() -> Result<Self> {
        let query = message::query(0, server::NAME, QueryType::A, None)?;
        let mut answer = query.clone();
        answer[2] = 0x81; // a response, recursion desired
        answer[3] = 0x80; // recursion available
        answer[7] = 1; // one answer
        // The question's name, A, IN, 60 s, four bytes.
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend_from_slice(&[192, 0, 2, 53]);
        Ok(Self { query, answer, id: 0 })
    }

    /// The current id.
    pub const fn id(&self) -> [u8; 2] {
        self.id.to_be_bytes()
    }

    /// On to the next id.
    pub fn next(&mut self) {
        self.id = self.id.wrapping_add(1);
        let id = self.id();
        self.query[..2].copy_from_slice(&id);
        self.answer[..2].copy_from_slice(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_one_to_the_query() {
        let mut messages = Messages::new().unwrap();
        messages.next();
        assert!(message::answers(&messages.answer, &messages.query));
        assert_eq!(message::response(&messages.answer), Some((1, "NOERROR")));
    }
}
