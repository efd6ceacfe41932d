//! What programs say when DNS fails them, and what it is worth: from a line of
//! text to the kind of message, what it names, and the first question to ask.
//!
//! Pure, and sure of nothing but the text: a message is a client's opinion.
//! What comes from the text is escaped.

mod client;
mod extract;
mod kind;
mod log;
mod reference;
mod rules;

use std::net::SocketAddr;

use serde::Serialize;

pub use client::Client;
pub use kind::MessageKind;
pub use log::{Entry, Log};
pub use reference::reference;
pub use rules::recognise;

/// A message that was recognised.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Message {
    /// What it says.
    #[serde(rename = "code")]
    pub kind: MessageKind,
    /// Who says so.
    pub client: Client,
    /// The name that was looked up, as far as the message tells; escaped.
    pub name: Option<String>,
    /// The DNS server (or, for messages about the API server, that server).
    pub server: Option<SocketAddr>,
    /// An unknown directive of a Corefile; escaped.
    pub directive: Option<String>,
}

impl Message {
    fn new(kind: MessageKind, client: Client) -> Self {
        Self { kind, client, name: None, server: None, directive: None }
    }

    fn name(mut self, name: Option<&str>) -> Self {
        self.name = name.and_then(extract::name);
        self
    }

    fn server(mut self, server: Option<SocketAddr>) -> Self {
        self.server = server;
        self
    }

    /// The dnsprobe command that answers the question, with what the message
    /// names filled in and capitals for what it does not name.
    #[must_use]
    pub fn next(&self) -> String {
        self.kind.next(self.name.as_deref(), self.server)
    }
}
