//! What the kernel counts of a program that is loaded (kernel/bpf/syscall.c,
//! `bpf_prog_get_info_by_fd`). `fdinfo` of its descriptor has the same, as text.

use std::os::fd::RawFd;

use super::bpf;

/// What a kernel program cost since it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramCost {
    /// Its name.
    pub program: String,
    /// How often it ran.
    pub runs: u64,
    /// How long in all, nanoseconds.
    pub time_ns: u64,
}

/// The counters of one program. What the kernel does not tell is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ProgramInfo {
    run_time_ns: u64,
    run_count: u64,
    /// Runs that were skipped, because a program was already running on that
    /// processor (5.12).
    pub(super) recursion_misses: u64,
}

impl ProgramInfo {
    pub(super) fn read(program: RawFd) -> Option<Self> {
        let info = bpf::program_info(program).ok()?;
        Some(Self {
            run_time_ns: info.run_time_ns,
            run_count: info.run_cnt,
            recursion_misses: info.recursion_misses,
        })
    }

    /// `None` unless the kernel keeps such statistics and the program ran.
    pub(super) fn cost(&self, program: &str) -> Option<ProgramCost> {
        (self.run_count > 0).then(|| ProgramCost {
            program: program.to_owned(),
            runs: self.run_count,
            time_ns: self.run_time_ns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_never_ran_has_no_cost() {
        let info = ProgramInfo { run_time_ns: 900, run_count: 3, recursion_misses: 7 };
        let cost = info.cost("send").unwrap();
        assert_eq!((cost.runs, cost.time_ns), (3, 900));
        assert_eq!(ProgramInfo::default().cost("send"), None);
    }
}
