//! What asks the questions: two measuring clients of our own, which know to
//! the query what was answered, and the real resolvers of the C libraries and
//! of Go.

pub mod message;
pub mod pair;
pub mod query;
pub mod report;
pub mod resolver;

pub use report::{Latency, Report, Unanswered};
