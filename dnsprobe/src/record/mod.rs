//! The event file: everything the engine and the statistics were fed, so that
//! they come to the same results again, on any machine. `docs/recording.md`
//! describes the format.
//!
//! Written by a [`Recorder`] beside whatever else a command does, read by a
//! [`Reader`]. Neither knows what the entries lead to.

mod block;
mod deltas;
mod entry;
mod known;
mod parts;
mod reader;
mod recorder;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::scratch;
mod writer;

pub use entry::{CONNTRACK_OWNERS, Entry, Gap, Header, NodeFile, Phase, Reading, RoleEntry};
pub use known::KnownOwners;
pub use parts::{Limits, RecordError};
pub use reader::{Damage, ReadError, Reader};
pub use recorder::{Pending, Recorder, Summary};

/// Version of the format that is written. A reader refuses files of a newer
/// one: what is added without breaking older readers does not change it.
pub const FORMAT: u16 = 1;
