//! Waiting until every kernel program that is running has ended.

use std::{
    io,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Where the kernel does not tell (with `nohz_full` processors, or forbidden by a
/// filter), no program runs longer than this.
const LONGEST_RUN: Duration = Duration::from_secs(10);

/// `MEMBARRIER_CMD_GLOBAL` of the kernel's `membarrier.h` (4.3).
const MEMBARRIER_GLOBAL: libc::c_int = 1;

/// A time after which no kernel program runs any more that ran at its begin. The wait
/// is in a thread of its own, because it takes tens of milliseconds.
pub(super) struct GracePeriod {
    begun: Instant,
    waiting: io::Result<JoinHandle<bool>>,
}

impl GracePeriod {
    pub(super) fn begin() -> Self {
        let waiting = thread::Builder::new().name("grace-period".into()).spawn(wait);
        Self { begun: Instant::now(), waiting }
    }

    /// One that is over.
    #[cfg(test)]
    pub(super) fn over() -> Self {
        let begun = Instant::now().checked_sub(LONGEST_RUN).unwrap();
        Self { begun, waiting: Err(io::ErrorKind::Unsupported.into()) }
    }

    /// Whether it is over; `self` again while it is not.
    pub(super) fn end(self) -> Result<(), Self> {
        let Self { begun, waiting } = self;
        let waiting = match waiting {
            Ok(thread) if !thread.is_finished() => return Err(Self { begun, waiting: Ok(thread) }),
            Ok(thread) => match thread.join() {
                Ok(true) => return Ok(()),
                _ => Err(io::ErrorKind::Unsupported.into()),
            },
            Err(error) => Err(error),
        };
        if begun.elapsed() >= LONGEST_RUN { Ok(()) } else { Err(Self { begun, waiting }) }
    }
}

/// Waits for one of the kernel's own grace periods: programs run inside an RCU read
/// section, whatever they are attached to (`__bpf_prog_enter`, `bpf_trace_run`,
/// `trace_call_bpf`; 5.10 to 7.3).
fn wait() -> bool {
    // SAFETY: the call takes no memory.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_GLOBAL, 0, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_period_ends() {
        let begun = Instant::now();
        let mut grace = GracePeriod::begin();
        while let Err(again) = grace.end() {
            assert!(begun.elapsed() < LONGEST_RUN + Duration::from_secs(5));
            grace = again;
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn without_the_kernels_word_it_takes_as_long_as_any_program() {
        let waiting = Err(io::ErrorKind::Unsupported.into());
        let young = GracePeriod { begun: Instant::now(), waiting };
        assert!(young.end().is_err());
        assert!(GracePeriod::over().end().is_ok());
    }
}
