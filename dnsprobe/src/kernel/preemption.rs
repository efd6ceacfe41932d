//! Whether the kernel may take the processor from a task in the middle of a program
//! of ours. It then skips that program for every other task on the processor, until
//! the first goes on (`__bpf_prog_enter_recur`, kernel/bpf/trampoline.c).

use std::fs;

/// Where a kernel with PREEMPT_DYNAMIC says which model is in force, in brackets
/// (`sched_dynamic_show`, kernel/sched/debug.c, 5.12).
const IN_FORCE: &str = "/sys/kernel/debug/sched/preempt";

/// Whether it is so here.
pub(crate) fn is_possible() -> bool {
    let version = fs::read_to_string("/proc/sys/kernel/version").unwrap_or_default();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    match fs::read_to_string(IN_FORCE) {
        Ok(models) => is_preempting(&models),
        Err(_) => is_likely(&version, &release, &command_line),
    }
}

/// Whether the model in brackets is one that preempts tasks inside the kernel.
fn is_preempting(models: &str) -> bool {
    ["(full)", "(lazy)"].iter().any(|model| models.contains(model))
}

/// The same from what every process may read. The default of a kernel with
/// PREEMPT_DYNAMIC is not known; since 6.13, which can preempt lazily, it is taken for
/// preempting: too many programs cost time, one too few costs queries.
fn is_likely(version: &str, release: &str, command_line: &str) -> bool {
    let chosen = command_line.split_whitespace().rev();
    if let Some(model) = chosen.filter_map(|word| word.strip_prefix("preempt=")).next() {
        return !matches!(model, "none" | "voluntary");
    }
    let mut words = version.split_whitespace();
    match words.find(|word| word.starts_with("PREEMPT")) {
        None => false,
        Some("PREEMPT_DYNAMIC") => {
            let mut numbers = release.split(['.', '-', '+']).map(str::parse::<u32>);
            let mut next = || numbers.next().and_then(Result::ok);
            next().zip(next()).is_none_or(|series| series >= (6, 13))
        }
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_in_force_is_the_one_in_brackets() {
        assert!(is_preempting("none voluntary full (lazy) \n"));
        assert!(is_preempting("(full) lazy \n"));
        assert!(!is_preempting("none (voluntary) full \n"));
        assert!(!is_preempting("(none) voluntary full lazy\n"));
    }

    #[test]
    fn without_it_the_kernels_name_and_command_line_tell() {
        const DYNAMIC: &str = "#1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1";
        assert!(!is_likely(DYNAMIC, "6.12.117+deb12-amd64", "quiet"));
        assert!(is_likely(DYNAMIC, "6.18.15+deb13-amd64", "quiet"));
        assert!(is_likely(DYNAMIC, "unknown", ""));
        assert!(is_likely(DYNAMIC, "6.12.1", "preempt=none preempt=full"));
        assert!(!is_likely(DYNAMIC, "7.3.4", "preempt=voluntary"));
        assert!(!is_likely("#1 SMP Debian 5.10.0-46", "5.10.0-46-amd64", ""));
        assert!(is_likely("#1 SMP PREEMPT_RT Debian", "6.1.0-rt", ""));
        assert!(is_likely("#1 SMP PREEMPT_LAZY", "7.0.1", ""));
        assert!(!is_likely("", "", ""));
    }
}
