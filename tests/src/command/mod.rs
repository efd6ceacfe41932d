//! The subcommands of `lab`.

pub mod demo;
pub mod native;
pub mod run;
