//! What the kernel programs say of themselves when they are built to
//! (`cargo xtask build --debug-programs`): aya-log lines, passed on to stderr.

use std::time::SystemTime;

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use crate::time::Timestamp;

/// Reads the programs' log; nothing to read unless they were built with one.
pub(crate) struct ProgramLog(Option<EbpfLogger<Stderr>>);

impl ProgramLog {
    pub(crate) fn of(ebpf: &mut Ebpf) -> Self {
        Self(EbpfLogger::init_with_logger(ebpf, Stderr).ok())
    }

    /// Prints every line there is.
    pub(crate) fn flush(&mut self) {
        if let Some(logger) = &mut self.0 {
            logger.flush();
        }
    }
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let now = Timestamp(SystemTime::now());
        eprintln!("{now} {} {}: {}", record.level(), record.target(), record.args());
    }

    fn flush(&self) {}
}
