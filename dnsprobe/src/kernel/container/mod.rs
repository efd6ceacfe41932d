//! What a container's processes see: their files, their C library, their
//! network. Read from outside; nothing runs in the container.

mod library;
mod network;
mod root;

pub use library::library;
pub use network::{local_addresses, reachability};
pub use root::read_file;
