//! dnsprobe's kernel programs.
//!
//! `hooks` has one file per kernel function that is hooked; its entry points
//! are thin and share one body per hook family. Everything else here is what
//! those bodies stand on: maps, packet access and field offsets. No names, no
//! policy, and constant work per event.

#![no_std]
#![no_main]
// Inline assembly for atomic additions and for loads; see `maps::add`, `memory`.
#![feature(asm_experimental_arch)]

/// A line of aya-log from a program; nothing at all unless the programs are
/// built with `cargo xtask build --debug-programs`.
macro_rules! debug {
    ($ctx:expr, $($message:tt)+) => {
        #[cfg(feature = "log")]
        aya_log_ebpf::debug!($ctx, $($message)+);
    };
}

mod arch;
mod calls;
mod capture;
mod conntrack;
mod constants;
mod emit;
mod flow;
mod hooks;
mod in_flight;
mod ipvs;
mod maps;
mod memory;
mod packet;
mod socket;
mod stream;
mod transaction;
mod user_memory;

/// Nothing here can panic; the compiler still wants to be told what happens.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers used are only given to programs under a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
