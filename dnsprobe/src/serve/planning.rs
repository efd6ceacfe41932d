//! When the hooks are planned anew: a module that they live in came or went.

use std::time::{Duration, Instant};

/// Between two plans, at least: attaching takes about a second of a processor.
const APART: Duration = Duration::from_secs(30);

/// The modules that the plan in force was made for.
#[derive(Clone, Debug)]
pub struct Planning {
    modules: Vec<&'static str>,
    /// When hooks were planned anew last.
    last: Option<Instant>,
}

impl Planning {
    /// The first plan, with these modules in the kernel.
    #[must_use]
    pub fn new(modules: Vec<&'static str>) -> Self {
        Self { modules, last: None }
    }

    /// Whether it is time for another plan, now that these modules are in the kernel.
    /// What came and what went, when it is.
    pub fn due(&mut self, now: Instant, modules: Vec<&'static str>) -> Option<String> {
        let too_soon = self.last.is_some_and(|last| now.duration_since(last) < APART);
        if modules == self.modules || too_soon {
            return None;
        }
        let before = std::mem::replace(&mut self.modules, modules);
        self.last = Some(now);
        let only = |these: &[&'static str], those: &[&'static str], what| {
            let names: Vec<&str> =
                these.iter().copied().filter(|name| !those.contains(name)).collect();
            (!names.is_empty()).then(|| format!("{} {what}", names.join(", ")))
        };
        let changes = [
            only(&self.modules, &before, "came into the kernel"),
            only(&before, &self.modules, "left the kernel"),
        ];
        Some(changes.into_iter().flatten().collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_comes_or_goes_is_a_reason_once() {
        let start = Instant::now();
        let mut planning = Planning::new(vec!["nf_conntrack"]);
        assert_eq!(planning.due(start, vec!["nf_conntrack"]), None);
        let why = planning.due(start, vec!["nf_conntrack", "nf_nat", "ip_vs"]).unwrap();
        assert_eq!(why, "nf_nat, ip_vs came into the kernel");
        assert_eq!(planning.due(start + APART, vec!["nf_conntrack", "nf_nat", "ip_vs"]), None);
        let why = planning.due(start + APART, vec!["nf_conntrack", "nf_nat"]).unwrap();
        assert_eq!(why, "ip_vs left the kernel");
    }

    #[test]
    fn a_module_that_comes_and_goes_all_the_time_is_planned_for_now_and_then() {
        let start = Instant::now();
        let mut planning = Planning::new(Vec::new());
        let plans = (0..60_u64)
            .filter(|second| {
                let modules = if second % 2 == 0 { vec!["ip_vs"] } else { Vec::new() };
                planning.due(start + Duration::from_secs(*second), modules).is_some()
            })
            .count();
        assert_eq!(plans, 2);
    }
}
