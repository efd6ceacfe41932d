//! What the kernel keeps about a program that is loaded: `fdinfo` of its descriptor
//! (kernel/bpf/syscall.c, `bpf_prog_show_fdinfo`).

use std::{fs, os::fd::RawFd};

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
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{program}")).ok()?;
        Some(Self::parse(&text))
    }

    fn parse(fdinfo: &str) -> Self {
        let field = |name: &str| {
            let mut values = fdinfo.lines().filter_map(|line| line.strip_prefix(name));
            values.next().and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        Self {
            run_time_ns: field("run_time_ns:"),
            run_count: field("run_cnt:"),
            recursion_misses: field("recursion_misses:"),
        }
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
    fn counters_are_read_and_what_is_missing_is_zero() {
        let info = ProgramInfo::parse(
            "prog_type:\t26\nrun_time_ns:\t900\nrun_cnt:\t3\nrecursion_misses:\t7\n",
        );
        assert_eq!(info.recursion_misses, 7);
        let cost = info.cost("send").unwrap();
        assert_eq!((cost.runs, cost.time_ns), (3, 900));
        let old = ProgramInfo::parse("prog_type:\t26\nrun_time_ns:\t0\nrun_cnt:\t0\n");
        assert_eq!((old.recursion_misses, old.cost("send")), (0, None));
    }
}
