//! One pod: what it asks, of whom, how long it waits, what it loses and why.

use super::{
    Dashboard, Variable,
    panel::{Panel, Unit},
};

const CHOSEN_BY: &[Variable] = &[
    Variable::new("namespace", "dnsprobe_queries_total"),
    Variable::new("pod", "dnsprobe_queries_total"),
];

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        name: "dnsprobe-pod",
        title: "dnsprobe: pod",
        about: "DNS of one pod, as client and as server",
        chosen_by: CHOSEN_BY,
        panels: panels(),
    }
}

fn panels() -> Vec<Panel> {
    let of = r#"owner_kind="pod",namespace=~"$namespace",pod=~"$pod""#;
    let client = |metric: &str| format!(r#"{metric}{{role="client",{of}}}"#);
    let rate = |metric: &str| format!("rate({}[$__rate_interval])", client(metric));
    let hour = |metric: &str| format!("sum(increase({}[1h]))", client(metric));
    vec![
        Panel::stat("Queries", Unit::PerSecond, "Sent.")
            .query(format!("sum({})", rate("dnsprobe_queries_total")), ""),
        Panel::stat("Queries in an hour", Unit::Plain, "Sent.")
            .query(hour("dnsprobe_queries_total"), ""),
        Panel::stat("Lost in an hour", Unit::Plain, "Never answered in a usable way.")
            .query(hour("dnsprobe_lost_queries_total"), ""),
        Panel::stat("Lost", Unit::Part, "Part of the last hour's queries.").query(
            format!(
                "{} / {}",
                hour("dnsprobe_lost_queries_total"),
                hour("dnsprobe_queries_total")
            ),
            "",
        ),
        Panel::stat("In flight", Unit::Plain, "Neither answered nor decided yet.")
            .query(format!("sum({})", client("dnsprobe_in_flight_queries")), ""),
        Panel::stat("Not followed in an hour", Unit::Plain, "Their end is nobody's loss.")
            .query(hour("dnsprobe_not_followed_queries_total"), ""),
        Panel::stacked("Lost queries by cause", Unit::PerSecond, "docs/causes.md.").query(
            format!("sum by (cause) ({})", rate("dnsprobe_lost_queries_total")),
            "{{cause}}",
        ),
        Panel::stacked("Answers by response code", Unit::PerSecond, "As the pod got them.").query(
            format!("sum by (rcode) ({})", rate("dnsprobe_answers_total")),
            "{{rcode}}",
        ),
        Panel::lines("Latency", Unit::Seconds, "Query sent to answer read.")
            .quantiles(&client("dnsprobe_latency_seconds_bucket")),
        Panel::heatmap("Latency, all queries", "Answers a second by how long they took.").query(
            format!("sum by (le) ({})", rate("dnsprobe_latency_seconds_bucket")),
            "{{le}}",
        ),
        Panel::lines(
            "Waiting to be read",
            Unit::Seconds,
            "Part of the latency that the answer lay in the pod's own socket: the pod was slow.",
        )
        .quantiles(&client("dnsprobe_read_delay_seconds_bucket")),
        Panel::lines("Near misses", Unit::PerSecond, "Races that the kernel resolved.").query(
            format!("sum by (cause) ({})", rate("dnsprobe_near_misses_total")),
            "{{cause}}",
        ),
        Panel::lines("Servers asked", Unit::PerSecond, "By address.").query(
            format!("sum by (server) ({})", rate("dnsprobe_server_queries_total")),
            "{{server}}",
        ),
        Panel::lines("Not answered by server", Unit::Part, "Lost of asked, by address.").query(
            format!(
                "sum by (server) ({}) / (sum by (server) ({}) > 0)",
                rate("dnsprobe_server_lost_queries_total"),
                rate("dnsprobe_server_queries_total")
            ),
            "{{server}}",
        ),
        Panel::lines("Answered by server", Unit::PerSecond, "By address.").query(
            format!("sum by (server) ({})", rate("dnsprobe_server_answers_total")),
            "{{server}}",
        ),
        Panel::lines(
            "Names per look-up",
            Unit::Plain,
            "Of sampled processes; 1: no search list costs anything.",
        )
        .query(
            format!(
                "sum by (pod) ({}) / sum by (pod) ({})",
                client("dnsprobe_sampled_lookup_names_total"),
                client("dnsprobe_sampled_lookups_total")
            ),
            "{{pod}}",
        ),
        Panel::lines("As a server", Unit::PerSecond, "Queries that the pod received.").query(
            format!(
                r#"sum by (pod) (rate(dnsprobe_queries_total{{role="server",{of}}}[$__rate_interval]))"#
            ),
            "{{pod}}",
        ),
    ]
}
