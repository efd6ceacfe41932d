//! What asks the questions: two measuring clients of our own, which know to
//! the query what was answered, and the real resolvers of the C libraries and
//! of Go. And what fills tables without asking anything.

mod books;
pub mod forge;
pub mod hostile;
pub mod keyed;
pub mod message;
pub mod pair;
pub mod preempt;
pub mod query;
pub mod report;
pub mod resolver;
mod socket;
pub mod spray;
pub mod steady;
pub mod tcp;
pub mod uring;

pub use report::{Latency, Report, Unanswered};
pub use socket::Via;
