//! How results look: text for people, JSON for machines. Takes the results of
//! the engine, the statistics and the check of the set-up only, and asks the
//! kernel nothing.

pub mod check;
pub mod coredns;
pub mod diagnosis;
pub mod explanation;
pub mod json;
pub mod page;
pub mod query;
pub mod table;
pub mod terminal;
mod text;
pub mod trace;
pub mod verdicts;
pub mod view;

#[cfg(test)]
pub(crate) mod testing;

pub use terminal::Terminal;
pub use text::clean as printable;
