//! What this process itself costs.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

use crate::metrics::OwnCost;

/// What this process costs: its processor time by its own clock, because the usual
/// source counts in hundredths of a second, more than a cheap interval takes; the rest
/// from `/proc/self/stat` (fs/proc/array.c, `do_task_stat`), zero where that cannot be
/// read.
#[must_use]
pub fn own_cost() -> OwnCost {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let used = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
    cost(used, &stat, &boot, rustix::param::clock_ticks_per_second(), rustix::param::page_size())
}

fn cost(cpu_seconds: f64, stat: &str, boot: &str, ticks: u64, page: usize) -> OwnCost {
    // The command comes in brackets and may hold anything.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    // By their numbers in proc(5), which counts from 1 and the command as the second.
    let field = |number: usize| -> u64 {
        fields.get(number - 3).and_then(|field| field.parse().ok()).unwrap_or(0)
    };
    let seconds = |in_ticks: u64| in_ticks as f64 / ticks.max(1) as f64;
    let booted: u64 =
        boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok()).unwrap_or(0);
    OwnCost {
        cpu_seconds,
        resident_bytes: field(24) * page as u64,
        start_seconds: booted as f64 + seconds(field(22)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_command_is_called() {
        let stat = "7 (a) b) c) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 300 999 25 1";
        let cost = cost(2.0, stat, "cpu 1\nbtime 1000\n", 100, 4096);
        assert_eq!(
            cost,
            OwnCost { cpu_seconds: 2.0, resident_bytes: 102_400, start_seconds: 1003.0 }
        );
        let own = own_cost();
        assert!(own.resident_bytes > 0 && own.cpu_seconds > 0.0);
        assert_eq!(super::cost(0.0, "", "", 0, 0), OwnCost::default());
    }
}
