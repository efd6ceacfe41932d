//! The subcommands of `lab`.

pub mod run;
