//! All nodes at once: is DNS all right, and where not.

use super::{
    Dashboard, Variable,
    panel::{Panel, Unit},
};

const CHOSEN_BY: &[Variable] = &[Variable::new("instance", "dnsprobe_build_info")];

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        name: "dnsprobe-cluster",
        title: "dnsprobe: cluster",
        about: "DNS of all nodes, as the kernel saw it",
        chosen_by: CHOSEN_BY,
        panels: panels(),
    }
}

fn panels() -> Vec<Panel> {
    let lost = r#"dnsprobe_lost_queries_total{role="client",instance=~"$instance"}"#;
    let queries = r#"dnsprobe_queries_total{role="client",instance=~"$instance"}"#;
    vec![
        Panel::stat("Nodes watched", Unit::Plain, "Nodes whose dnsprobe was scraped.")
            .query(r#"count(dnsprobe_build_info{instance=~"$instance"})"#, ""),
        Panel::stat("Nodes seen completely", Unit::Plain, "Nodes where nothing goes unseen.")
            .query(r#"sum(dnsprobe_complete{instance=~"$instance"})"#, ""),
        Panel::stat("Queries", Unit::PerSecond, "Sent by clients on these nodes.")
            .query(format!("sum(rate({queries}[$__rate_interval]))"), ""),
        Panel::stat("Lost in an hour", Unit::Plain, "Queries that never got a usable answer.")
            .query(format!("sum(increase({lost}[1h]))"), ""),
        Panel::stat("Lost", Unit::Part, "Part of the last hour's queries.").query(
            format!("sum(increase({lost}[1h])) / sum(increase({queries}[1h]))"),
            "",
        ),
        Panel::stat("Most filled conntrack table", Unit::Part, "Of the fullest node.").query(
            r#"max(dnsprobe_conntrack_entries{instance=~"$instance"} / dnsprobe_conntrack_entries_limit{instance=~"$instance"})"#,
            "",
        ),
        Panel::stacked(
            "Lost queries by cause",
            Unit::PerSecond,
            "Each lost query has one proven cause, or is unexplained (docs/causes.md).",
        )
        .query(format!("sum by (cause) (rate({lost}[$__rate_interval]))"), "{{cause}}"),
        Panel::lines("Queries by node", Unit::PerSecond, "The busiest ten.").query(
            format!("topk(10, sum by (instance) (rate({queries}[$__rate_interval])))"),
            "{{instance}}",
        ),
        Panel::table("Nodes that lose most", Unit::Plain, "Lost queries of the last hour.").query(
            format!("topk(20, sum by (instance, cause) (increase({lost}[1h])) > 0)"),
            "{{instance}} {{cause}}",
        ),
        Panel::table("Pods that lose most", Unit::Plain, "Lost queries of the last hour.").query(
            format!(
                "topk(20, sum by (namespace, pod, unit, instance, cause) (increase({lost}[1h])) > 0)"
            ),
            "{{namespace}}/{{pod}}{{unit}} {{instance}} {{cause}}",
        ),
        Panel::lines("Latency", Unit::Seconds, "Query sent to answer read, over all clients.")
            .quantiles(
                r#"dnsprobe_latency_seconds_bucket{role="client",instance=~"$instance"}"#,
            ),
        Panel::heatmap("Latency, all queries", "Answers a second by how long they took.").query(
            r#"sum by (le) (rate(dnsprobe_latency_seconds_bucket{role="client",instance=~"$instance"}[$__rate_interval]))"#,
            "{{le}}",
        ),
        Panel::lines("Slowest nodes", Unit::Seconds, "p99 of the slowest ten.").query(
            r#"topk(10, histogram_quantile(0.99, sum by (instance, le) (rate(dnsprobe_latency_seconds_bucket{role="client",instance=~"$instance"}[$__rate_interval]))))"#,
            "{{instance}}",
        ),
        Panel::stacked("Answers by response code", Unit::PerSecond, "As clients got them.").query(
            r#"sum by (rcode) (rate(dnsprobe_answers_total{role="client",instance=~"$instance"}[$__rate_interval]))"#,
            "{{rcode}}",
        ),
        Panel::lines(
            "Near misses",
            Unit::PerSecond,
            "Races that the kernel resolved; with other timing they are losses.",
        )
        .query(
            r#"sum by (instance, cause) (rate(dnsprobe_near_misses_total{instance=~"$instance"}[$__rate_interval]))"#,
            "{{instance}} {{cause}}",
        ),
        Panel::lines("Fullest conntrack tables", Unit::Part, "Entries of the limit.").query(
            r#"topk(10, dnsprobe_conntrack_entries{instance=~"$instance"} / dnsprobe_conntrack_entries_limit{instance=~"$instance"})"#,
            "{{instance}}",
        ),
        Panel::table(
            "When queries were lost",
            Unit::Plain,
            "Nodes by cause and pattern, in the last ten minutes: docs/findings.md.",
        )
        .query(
            r#"sum by (cause, pattern) (dnsprobe_loss_pattern_info{instance=~"$instance"})"#,
            "{{cause}} {{pattern}}",
        ),
    ]
}
