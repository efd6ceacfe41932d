//! The test lab of dnsprobe: builds a mini node with pods, DNS servers and
//! services, causes real faults in the kernel, and holds dnsprobe's verdicts
//! against the clients' own counts.

pub mod client;
pub mod command;
pub mod diagnosed;
pub mod expectation;
pub mod lab;
pub mod observed;
pub mod result;
pub mod scenarios;
