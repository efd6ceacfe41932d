//! One node: its traffic, the kernel's tables, and dnsprobe itself.

use super::{
    Dashboard, Variable,
    panel::{Panel, Unit},
};

const CHOSEN_BY: &[Variable] = &[Variable::new("instance", "dnsprobe_build_info")];

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        name: "dnsprobe-node",
        title: "dnsprobe: node",
        about: "DNS of one node, the tables of its kernel, and what watching costs",
        chosen_by: CHOSEN_BY,
        panels: dns().into_iter().chain(kernel()).chain(own()).collect(),
    }
}

fn dns() -> Vec<Panel> {
    let of = r#"instance=~"$instance""#;
    let rate = |metric: &str, role: &str| {
        format!(r#"rate({metric}{{role="{role}",{of}}}[$__rate_interval])"#)
    };
    let sent = rate("dnsprobe_queries_total", "client");
    let lost = rate("dnsprobe_lost_queries_total", "client");
    vec![
        Panel::stat("Queries", Unit::PerSecond, "Sent by clients here.")
            .query(format!("sum({sent})"), ""),
        Panel::stat("Lost", Unit::PerSecond, "Of these clients.").query(format!("sum({lost})"), ""),
        Panel::stat("In flight", Unit::Plain, "Neither answered nor decided yet.")
            .query(format!(r#"sum(dnsprobe_in_flight_queries{{role="client",{of}}})"#), ""),
        Panel::stat("Everything is seen", Unit::Plain, "1: all hooks attached, nothing lost.")
            .query(format!("min(dnsprobe_complete{{{of}}})"), ""),
        Panel::stat("Hooks missing", Unit::Plain, "`dnsprobe doctor` says why.").query(
            format!(r#"count(dnsprobe_hook_info{{state="missing",{of}}}) or vector(0)"#),
            "",
        ),
        Panel::stat("Since the last reading", Unit::Seconds, "Age of the counters.")
            .query(format!("time() - max(dnsprobe_reading_timestamp_seconds{{{of}}})"), ""),
        Panel::lines("Pods that ask most", Unit::PerSecond, "The busiest ten.").query(
            format!("topk(10, sum by (namespace, pod, unit) ({sent}))"),
            "{{namespace}}/{{pod}}{{unit}}",
        ),
        Panel::stacked("Lost queries by cause", Unit::PerSecond, "docs/causes.md.")
            .query(format!("sum by (cause) ({lost})"), "{{cause}}"),
        Panel::lines("Latency for clients", Unit::Seconds, "Query sent to answer read.")
            .quantiles(&format!(r#"dnsprobe_latency_seconds_bucket{{role="client",{of}}}"#)),
        Panel::lines("Latency of servers here", Unit::Seconds, "Query queued to answer sent.")
            .quantiles(&format!(r#"dnsprobe_latency_seconds_bucket{{role="server",{of}}}"#)),
        Panel::stacked("Answers by response code", Unit::PerSecond, "As clients got them.").query(
            format!("sum by (rcode) ({})", rate("dnsprobe_answers_total", "client")),
            "{{rcode}}",
        ),
        Panel::lines("Servers asked", Unit::PerSecond, "By address, the busiest ten.").query(
            format!(
                "topk(10, sum by (server) ({}))",
                rate("dnsprobe_server_queries_total", "client")
            ),
            "{{server}}",
        ),
        Panel::lines("Backends of services", Unit::PerSecond, "Where UDP queries left for.").query(
            format!(
                "topk(20, sum by (server, backend) \
                 (rate(dnsprobe_backend_queries_total{{{of}}}[$__rate_interval])))"
            ),
            "{{backend}} for {{server}}",
        ),
        Panel::lines(
            "Names per look-up",
            Unit::Plain,
            "Of sampled processes, the ten pods with most; 1: no search list costs anything.",
        )
        .query(
            format!(
                "topk(10, sum by (namespace, pod, unit) (dnsprobe_sampled_lookup_names_total{{{of}}}) \
                 / sum by (namespace, pod, unit) (dnsprobe_sampled_lookups_total{{{of}}}))"
            ),
            "{{namespace}}/{{pod}}{{unit}}",
        ),
    ]
}

fn kernel() -> Vec<Panel> {
    let of = r#"{instance=~"$instance"}"#;
    vec![
        Panel::lines("Conntrack entries", Unit::Plain, "And how many there may be.")
            .query(format!("dnsprobe_conntrack_entries{of}"), "entries {{instance}}")
            .query(format!("dnsprobe_conntrack_entries_limit{of}"), "limit {{instance}}"),
        Panel::lines("Conntrack events", Unit::PerSecond, "All protocols, by the kernel's count.")
            .query(
                format!(
                    "sum by (event) (rate(dnsprobe_conntrack_events_total{of}[$__rate_interval]))"
                ),
                "{{event}}",
            ),
        Panel::lines("UDP errors", Unit::PerSecond, "All ports, by the kernel's count.").query(
            format!(
                "sum by (family, event) (rate(dnsprobe_udp_errors_total{of}[$__rate_interval]))"
            ),
            "{{family}} {{event}}",
        ),
        Panel::lines("Processor backlogs", Unit::PerSecond, "Packets dropped; work put off.")
            .query(
                format!("sum(rate(dnsprobe_backlog_dropped_packets_total{of}[$__rate_interval]))"),
                "dropped",
            )
            .query(
                format!("sum(rate(dnsprobe_backlog_squeezes_total{of}[$__rate_interval]))"),
                "squeezed",
            ),
        Panel::lines("IPVS connections", Unit::Plain, "Of real servers of UDP services.").query(
            format!("sum by (server, backend) (dnsprobe_ipvs_connections{of})"),
            "{{backend}} of {{server}}",
        ),
        Panel::table(
            "When queries were lost",
            Unit::Plain,
            "In the last ten minutes, against the load: docs/findings.md.",
        )
        .query(
            format!("sum by (cause, pattern) (dnsprobe_loss_pattern_info{of})"),
            "{{cause}} {{pattern}}",
        ),
    ]
}

fn own() -> Vec<Panel> {
    let of = r#"{instance=~"$instance"}"#;
    // Other things have metrics of these names too.
    let ours = r#"{job="dnsprobe",instance=~"$instance"}"#;
    vec![
        Panel::lines("Processors used by dnsprobe", Unit::Part, "In user space and system calls.")
            .query(
                format!("rate(process_cpu_seconds_total{ours}[$__rate_interval])"),
                "{{instance}}",
            ),
        Panel::lines("Memory of dnsprobe", Unit::Bytes, "Resident, with its kernel tables.")
            .query(format!("process_resident_memory_bytes{ours}"), "{{instance}}"),
        Panel::lines("Not seen", Unit::PerSecond, "What dnsprobe could not follow or count.")
            .query(
                format!("sum(rate(dnsprobe_lost_events_total{of}[$__rate_interval]))"),
                "events lost",
            )
            .query(
                format!("sum(rate(dnsprobe_missed_program_runs_total{of}[$__rate_interval]))"),
                "program runs missed",
            )
            .query(
                format!("sum(rate(dnsprobe_in_flight_full_total{of}[$__rate_interval]))"),
                "table of queries full",
            )
            .query(
                format!("sum(rate(dnsprobe_aggregates_full_total{of}[$__rate_interval]))"),
                "table of counts full",
            )
            .query(
                format!("sum(rate(dnsprobe_unread_tcp_messages_total{of}[$__rate_interval]))"),
                "TCP messages unread",
            )
            .query(
                format!("sum(rate(dnsprobe_verdicts_not_printed_total{of}[$__rate_interval]))"),
                "verdicts not printed",
            )
            .query(format!("sum(dnsprobe_owners_over_limit{of})"), "owners summed up"),
        Panel::lines("Tables of dnsprobe", Unit::Part, "Entries of the limit, in the kernel.")
            .query(
                format!(
                    "max by (table) (dnsprobe_table_entries{of} / dnsprobe_table_entries_limit{of})"
                ),
                "{{table}}",
            ),
        Panel::table("Hooks", Unit::Plain, "How each stands: docs/hooks.md.").query(
            format!("sum by (hook, state, mechanism) (dnsprobe_hook_info{of})"),
            "{{hook}} {{state}} {{mechanism}}",
        ),
    ]
}
