//! What a daemon publishes over HTTP: metrics, health, the last reading and the last
//! verdicts, and a page for people. Nothing here waits for a client: what is published
//! is put down, and whoever asks takes it from there.

mod address;
mod governor;
mod http;
mod own_cost;
mod page;
mod planning;
mod published;

pub use address::{AddressError, check_address};
pub use governor::Governor;
pub use http::{Server, bind};
pub use own_cost::own_cost;
pub use planning::Planning;
pub use published::{Besides, Options, Published, Shared};
