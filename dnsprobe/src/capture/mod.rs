//! Packets as a file that Wireshark opens: holds each until its transaction is
//! decided, chooses, comments, and writes pcapng. No kernel, no terminal.

mod comment;
mod decision;
mod file;
mod held;
mod packet;
mod pcapng;
mod rebuild;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use decision::Decision;
pub use file::{About, Files, Rotation, WriteError};
pub use held::{Held, Limits, Release, Wanted};
pub use packet::{Conversation, DropSite, Interface, Message, Packet, Seen};
