//! The subcommands of `lab`.

pub mod attribution;
pub mod bench;
pub mod clean;
pub mod demo;
pub mod load;
pub mod native;
pub mod run;
pub mod soak;
