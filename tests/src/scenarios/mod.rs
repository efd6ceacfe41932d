//! One file per failure row: each causes one fault in the kernel and says what
//! dnsprobe must report for whom, from the clients' own counts. Beside the
//! victim a healthy pod asks all the time, and must come out spotless.

mod answer_mismatch;
mod capture;
mod capture_failed;
mod check_node_config;
mod check_pod_config;
mod confined;
mod conntrack_chain_too_long;
mod conntrack_clash;
mod conntrack_clash_late_answer;
mod conntrack_clash_musl;
mod conntrack_clash_resolved;
mod conntrack_clash_snat;
mod conntrack_dying;
mod conntrack_table_full;
mod coredns_log;
mod cpu_backlog_full;
mod cpu_hotplug;
mod cri_pods;
mod dashboards;
mod evidence;
mod fault_in_window;
mod fault_under_load;
mod findings;
mod forwarding_proxy;
mod healthy;
mod ipv6;
mod ipvs_crossed_answer;
mod ipvs_dead_backend;
mod ipvs_no_backend;
mod ipvs_port_conflict;
mod ipvs_stale_backend;
mod late_answer;
mod latency;
mod loopback_stub;
mod musl_two_nameservers;
mod nat_ports_exhausted;
mod neighbour_failed;
mod nftables_mode;
mod no_listener;
mod no_route;
mod node_local_cache;
mod packet_invalid;
mod policy_drop;
mod preempted_send;
mod query_dead_backend;
mod query_healthy;
mod query_service_policy;
mod remote_ends;
mod remote_silence;
mod replay;
mod resolver_retry;
mod same_id;
mod send_failed;
mod serve;
mod serve_hostile;
mod serve_left_alone;
mod serve_many_pods;
mod serve_overload;
mod serve_planned_anew;
mod serve_services;
mod server_silent;
mod socket_buffer_full;
mod stage;
mod stale_masquerade;
mod stale_nat_entry;
mod tc_drop;
mod tcp;
mod tcp_lost;
mod three_causes;
mod ticket_live;
mod top_view;
mod trace;
mod transports;
mod unexplained;

use std::fmt;

use anyhow::Result;

pub use stage::Stage;

use crate::expectation::Expectation;
use crate::lab::kernel::{Kernel, has_one_of, has_second_processor};
use crate::observed::Observed;
use crate::result::{Check, Comparison, Findings};

/// One scenario.
#[derive(Debug)]
pub struct Scenario {
    /// Name on the command line.
    pub name: &'static str,
    /// What happens, in a sentence.
    pub about: &'static str,
    /// Kernels it runs on.
    pub kernels: Kernels,
    /// Whether it compares times so closely that the machine's clock must
    /// count instructions (`cargo xtask vm --icount`).
    pub exact_clock: bool,
    run: fn(&Stage<'_>) -> Result<Outcome>,
}

/// Which kernels a scenario applies to.
#[derive(Clone, Copy, Debug)]
pub enum Kernels {
    /// All supported ones.
    All,
    /// This series and newer; older ones are skipped for the reason given.
    Since(Kernel, &'static str),
    /// Those with one of these functions; the others are skipped for the
    /// reason given. For what stable updates change within a series.
    With(&'static [&'static str], &'static str),
    /// All supported ones, on a machine with two processors.
    TwoProcessors,
}

impl Kernels {
    /// Why the scenario does not apply to `kernel`, if it does not.
    #[must_use]
    pub fn refusal(&self, kernel: Kernel) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::Since(first, reason) => (kernel < *first).then_some(reason),
            Self::With(functions, reason) => (!has_one_of(functions)).then_some(reason),
            Self::TwoProcessors => {
                (!has_second_processor()).then_some("this machine has one processor")
            }
        }
    }
}

impl fmt::Display for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad("all kernels"),
            Self::Since(first, _) => f.pad(&format!("{first} and newer")),
            Self::With(..) => f.pad("some kernels"),
            Self::TwoProcessors => f.pad("2 processors"),
        }
    }
}

/// What a scenario expected, what it saw, and what else it compared.
#[derive(Debug, Default)]
pub struct Outcome {
    traffic: Option<(Expectation, Observed)>,
    further: Comparison,
}

impl Outcome {
    /// Of a scenario that compares what dnsprobe counted and judged.
    fn new(expectation: Expectation, observed: Observed) -> Self {
        Self { traffic: Some((expectation, observed)), further: Comparison::default() }
    }

    /// Add what a scenario checked itself.
    fn also(mut self, problems: impl IntoIterator<Item = String>) -> Self {
        self.further.checks.extend(problems.into_iter().map(Check::wrong));
        self
    }

    /// Add something that a scenario compared: right when there is no problem.
    fn checked(mut self, what: &str, problems: Vec<String>) -> Self {
        if problems.is_empty() {
            self.further.checks.push(Check::right(what));
        }
        self.also(problems)
    }

    /// Add findings: each named by everything that must be right about it,
    /// such as `CODE of OWNER`.
    fn findings(mut self, expected: &[String], found: &[String]) -> Self {
        let (findings, checks) = Findings::compare(expected, found);
        self.further.checks.extend(checks);
        self.further.findings = Some(findings);
        self
    }

    /// Compare.
    fn comparison(self) -> Comparison {
        let Self { traffic, mut further } = self;
        if let Some((expectation, observed)) = traffic {
            further.checks.splice(0..0, expectation.checks(&observed));
            further.losses = Some(expectation.losses(&observed));
        }
        further
    }
}

impl Scenario {
    /// Run it and compare.
    pub fn run(&self, stage: &Stage<'_>) -> Result<Comparison> {
        (self.run)(stage).map(Outcome::comparison)
    }
}

/// Every scenario, in the order they run.
pub const ALL: &[Scenario] = &[
    healthy::SCENARIO,
    musl_two_nameservers::SCENARIO,
    trace::SCENARIO,
    replay::SCENARIO,
    capture::SCENARIO,
    capture_failed::SCENARIO,
    coredns_log::SCENARIO,
    top_view::SCENARIO,
    ticket_live::SCENARIO,
    latency::SCENARIO,
    conntrack_clash::SCENARIO,
    conntrack_clash_musl::SCENARIO,
    conntrack_clash_snat::SCENARIO,
    conntrack_clash_resolved::SCENARIO,
    conntrack_clash_late_answer::SCENARIO,
    conntrack_table_full::SCENARIO,
    ipvs_stale_backend::SCENARIO,
    socket_buffer_full::SCENARIO,
    policy_drop::SCENARIO,
    no_listener::SCENARIO,
    late_answer::SCENARIO,
    remote_ends::SCENARIO,
    remote_silence::SCENARIO,
    unexplained::SCENARIO,
    ipv6::SCENARIO,
    tc_drop::SCENARIO,
    cpu_backlog_full::SCENARIO,
    neighbour_failed::SCENARIO,
    packet_invalid::SCENARIO,
    server_silent::SCENARIO,
    answer_mismatch::SCENARIO,
    transports::SCENARIO,
    tcp::SCENARIO,
    tcp_lost::SCENARIO,
    resolver_retry::SCENARIO,
    check_pod_config::SCENARIO,
    check_node_config::SCENARIO,
    findings::healthy::SCENARIO,
    findings::nxdomain::SCENARIO,
    findings::upstream::NXDOMAIN,
    findings::upstream::SERVFAIL,
    findings::upstream::REFUSED,
    findings::failed_answers::SCENARIO,
    findings::internal_name_missing::SCENARIO,
    findings::autopath_suspect::SCENARIO,
    findings::truncated_no_tcp::SCENARIO,
    findings::tcp_unanswered::SCENARIO,
    findings::search_expansion::SCENARIO,
    findings::slow::SERVER_QUEUE,
    findings::slow::SERVER,
    findings::slow::UPSTREAM,
    findings::slow::NETWORK,
    findings::slow::CLIENT,
    findings::nodelocal_bypassed::SCENARIO,
    findings::parallel_nameservers::SCENARIO,
    findings::uneven_backends::SCENARIO,
    findings::server_restarting::SCENARIO,
    findings::patterns::ALWAYS,
    findings::patterns::PEAK,
    findings::patterns::SCALING_WINDOW,
    conntrack_chain_too_long::SCENARIO,
    conntrack_dying::SCENARIO,
    nat_ports_exhausted::SCENARIO,
    ipvs_dead_backend::SCENARIO,
    ipvs_port_conflict::SCENARIO,
    ipvs_crossed_answer::SCENARIO,
    ipvs_no_backend::SCENARIO,
    stale_nat_entry::SCENARIO,
    stale_masquerade::SCENARIO,
    three_causes::SCENARIO,
    fault_in_window::SCENARIO,
    fault_under_load::SCENARIO,
    forwarding_proxy::SCENARIO,
    loopback_stub::SCENARIO,
    node_local_cache::SCENARIO,
    nftables_mode::SCENARIO,
    no_route::SCENARIO,
    send_failed::SCENARIO,
    same_id::SCENARIO,
    preempted_send::SCENARIO,
    query_healthy::SCENARIO,
    query_dead_backend::SCENARIO,
    query_service_policy::SCENARIO,
    cpu_hotplug::SCENARIO,
    confined::SCENARIO,
    cri_pods::SCENARIO,
    dashboards::SCENARIO,
    serve::SCENARIO,
    serve_hostile::SCENARIO,
    serve_left_alone::SCENARIO,
    serve_many_pods::SCENARIO,
    serve_overload::SCENARIO,
    serve_planned_anew::SCENARIO,
    serve_services::SCENARIO,
];

/// Scenarios that use no hook or kernel path which another one does not use, so
/// that one kernel tells for all: `cargo xtask test` runs them on that one only.
pub const SAME_ON_EVERY_KERNEL: &[&str] = &[
    "musl-two-nameservers",
    "trace",
    "replay",
    "coredns-log",
    "top-view",
    "ticket-live",
    "conntrack-clash-musl",
    "fault-under-load",
    "three-causes",
    "fault-in-window",
    "forwarding-proxy",
    "loopback-stub",
    "node-local-cache",
    "same-id",
    "query-healthy",
    "query-dead-backend",
    "query-service-policy",
    "resolver-retry",
    // Findings: made from answers and counts in user space.
    "diagnose-healthy",
    "nxdomain",
    "upstream-nxdomain",
    "upstream-servfail",
    "upstream-refused",
    "failed-answers",
    "internal-name-missing",
    "autopath-suspect",
    "search-expansion",
    "slow-server",
    "slow-upstream",
    "slow-network",
    "nodelocal-bypassed",
    "parallel-nameservers",
    "uneven-backends",
    "server-restarting",
    "pattern-always",
    "pattern-peak",
    "pattern-scaling-window",
    "check-pod-config",
    "cpu-hotplug",
    "cri-pods",
    "serve",
    "serve-hostile",
    "serve-left-alone",
    "serve-overload",
    "dashboards",
    // The hooks of others (`capture`, `healthy`, `latency`, `no-listener`, `tcp`,
    // `conntrack-clash-resolved`, `ipvs-stale-backend`, `stale-nat-entry`); what they
    // add is told apart in user space.
    "capture-failed",
    "late-answer",
    "conntrack-clash-late-answer",
    "server-silent",
    "answer-mismatch",
    "slow-server-queue",
    "slow-client",
    "truncated-no-tcp",
    "tcp-unanswered",
    "ipvs-crossed-answer",
    "stale-masquerade",
    "remote-ends",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_kernel_tells_for_all_exists() {
        for name in SAME_ON_EVERY_KERNEL {
            assert!(ALL.iter().any(|scenario| scenario.name == *name), "{name}");
        }
    }

    #[test]
    fn older_kernels_are_refused_with_the_reason() {
        let kernels = Kernels::Since(Kernel(6, 1), "no such function");
        assert_eq!(kernels.refusal(Kernel(5, 10)), Some("no such function"));
        assert_eq!(kernels.refusal(Kernel(6, 12)), None);
        assert_eq!(kernels.to_string(), "6.1 and newer");
        assert_eq!(Kernels::All.refusal(Kernel(5, 10)), None);
    }

    #[test]
    fn scenario_names_are_unique() {
        for (index, one) in ALL.iter().enumerate() {
            assert!(ALL[index + 1..].iter().all(|other| other.name != one.name));
        }
    }
}
