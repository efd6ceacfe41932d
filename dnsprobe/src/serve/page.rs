//! The status page: a table of owners with their latency as a row of cells, the last
//! verdicts, and what could not be seen. One document without scripts or other files,
//! which asks for itself again every five seconds.

use std::fmt::Write as _;

use dnsprobe_common::flow::Role;

use super::Published;
use crate::{
    engine::Verdict,
    kernel::RoleState,
    metrics::Shedding,
    stats::{
        BOUNDS_SECONDS, Buckets, LatencySummary, PodCounts, ServiceCounts, Snapshot, role_name,
    },
};

/// Owners that are shown, those with most losses and queries first.
const OWNERS: usize = 200;
/// Services that are shown, and backends of each.
const SERVICES: usize = 20;
const BACKENDS: usize = 50;
/// Verdicts that are shown.
const VERDICTS: usize = 25;

const STYLE: &str = "\
body{font:14px system-ui,sans-serif;margin:1.5rem;color:#1b1f24;background:#fff}\
h1{font-size:1.3rem}h2{font-size:1.05rem;margin-top:1.6rem}\
table{border-collapse:collapse}th,td{padding:.2rem .6rem;text-align:left;white-space:nowrap}\
th{border-bottom:1px solid #8c959f}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
tr:nth-child(even) td{background:#f6f8fa}.lost{color:#a40e26;font-weight:600}\
.ok{color:#116329}.bad{color:#a40e26}.heat{display:flex;gap:1px}\
.heat i{width:9px;height:16px;border:1px solid #d0d7de;box-sizing:border-box}\
td.w{white-space:normal;max-width:60rem}\
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}\
tr:nth-child(even) td{background:#161b22}.lost,.bad{color:#ff7b72}.ok{color:#7ee787}\
.heat i{border-color:#30363d}}";

/// The whole document.
#[must_use]
pub(super) fn render(published: &Published) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"refresh\" content=\"5\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>dnsprobe</title><style>{STYLE}</style></head><body><h1>dnsprobe {}</h1>\n",
        env!("CARGO_PKG_VERSION")
    );
    match published.snapshot() {
        None => html.push_str("<p>The counters have not been read yet.</p>\n"),
        Some(snapshot) => {
            seen(&mut html, snapshot, published);
            shedding(&mut html, published.shedding());
            owners(&mut html, snapshot, published);
        }
    }
    services(&mut html, &published.besides().services);
    verdicts(&mut html, published);
    html.push_str(
        "<p><a href=\"/metrics\">metrics</a> · <a href=\"/api/v1/snapshot\">snapshot</a> · \
         <a href=\"/api/v1/services\">services</a> · \
         <a href=\"/api/v1/verdicts\">verdicts</a> · <a href=\"/api/v1/hooks\">hooks</a></p>\
         </body></html>\n",
    );
    html
}

/// What was seen and what not.
fn seen(html: &mut String, snapshot: &Snapshot, published: &Published) {
    let seen = &snapshot.completeness;
    let attached = published
        .hooks()
        .iter()
        .filter(|hook| matches!(hook.state, RoleState::Attached { .. }))
        .count();
    let _ = write!(
        html,
        "<p>{} · watching for {:.0} s · {attached} of {} hook roles attached · ",
        snapshot.time,
        snapshot.since_seconds,
        published.hooks().len()
    );
    if seen.is_complete() {
        html.push_str("<span class=\"ok\">everything was seen</span></p>\n");
        return;
    }
    let counts = [
        (seen.lost_events, "events lost"),
        (seen.in_flight_full, "queries not followed, their table was full"),
        (seen.stats_full, "transactions not counted, their table was full"),
        (seen.tcp_unread, "TCP messages could not be read"),
        (seen.missed_runs, "program runs skipped by the kernel"),
    ];
    let mut said: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    said.extend(
        seen.missing
            .iter()
            .map(|hook| format!("{} is missing: {}", escape(&hook.role), escape(&hook.reason))),
    );
    let _ = writeln!(html, "<span class=\"bad\">not seen: {}</span></p>", said.join("; "));
}

/// What is left out, if anything.
fn shedding(html: &mut String, shedding: &Shedding) {
    let (Some(limit), false) = (shedding.limit, shedding.shed.is_empty()) else { return };
    let names: Vec<&str> = shedding.shed.iter().map(|shed| shed.as_str()).collect();
    let _ = writeln!(
        html,
        "<p class=\"bad\">Left out to stay below {:.1} % of a processor (now {:.1} %): {}. Queries \
         are counted as before.</p>",
        limit * 100.0,
        shedding.share * 100.0,
        names.join(", ")
    );
}

fn owners(html: &mut String, snapshot: &Snapshot, published: &Published) {
    let _ = writeln!(
        html,
        "<h2>Owners</h2><table><thead><tr><th>owner</th><th>role</th><th class=\"n\">queries/s</th>\
         <th class=\"n\">queries</th><th class=\"n\">answered</th><th class=\"n\">in flight</th>\
         <th>lost</th><th class=\"n\">names per look-up</th><th class=\"n\">p50 ms</th><th class=\"n\">p95 ms</th>\
         <th class=\"n\">p99 ms</th><th>latency, {:.0} s</th></tr></thead><tbody>",
        snapshot.window_seconds
    );
    let mut rows: Vec<&PodCounts> = snapshot.pods.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.total.lost_total, row.total.queries)));
    for row in rows.iter().take(OWNERS) {
        let earlier = published.before().and_then(|before| {
            before.pods.iter().find(|other| other.owner == row.owner && other.role == row.role)
        });
        let window =
            row.latency.since(&earlier.map_or_else(Buckets::default, |row| row.latency.clone()));
        let latency = row.total.latency_seconds;
        let ms = |of: fn(&LatencySummary) -> f64| {
            latency.map_or_else(|| "–".to_owned(), |summary| format!("{:.2}", of(&summary) * 1e3))
        };
        let look_ups = published.samples().and_then(|samples| samples.of(&row.owner));
        let names = match look_ups {
            Some(sums) if row.role == Role::Client => format!("{:.1}", sums.names_per_look_up()),
            _ => "–".to_owned(),
        };
        let lost: Vec<String> =
            row.total.lost.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{:.1}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"lost\">{}</td>\
             <td class=\"n\">{names}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            escape(&row.owner.to_string()),
            role_name(row.role),
            row.window.queries_per_second,
            row.total.queries,
            row.total.answered,
            row.total.in_flight,
            lost.join("<br>"),
            ms(|summary| summary.p50),
            ms(|summary| summary.p95),
            ms(|summary| summary.p99),
            heat(&window)
        );
    }
    html.push_str("</tbody></table>\n");
    match snapshot.pods.len() {
        0 => html.push_str("<p>No DNS traffic has been seen.</p>\n"),
        all if all > OWNERS => {
            let _ = writeln!(html, "<p>{} more are in the snapshot.</p>", all - OWNERS);
        }
        _ => {}
    }
}

/// A cell per bucket, the darker the more answers took that long.
fn heat(values: &Buckets) -> String {
    let most = values.counts.iter().copied().max().unwrap_or(0).max(1);
    let mut cells = String::from("<div class=\"heat\">");
    for (index, count) in values.counts.iter().enumerate() {
        let to = BOUNDS_SECONDS
            .get(index)
            .map_or_else(|| "more".to_owned(), |bound| format!("up to {} ms", bound * 1e3));
        let opacity = (*count as f64 / most as f64).sqrt();
        let _ = write!(
            cells,
            "<i style=\"background:rgba(9,105,218,{opacity:.2})\" title=\"{to}: {count}\"></i>"
        );
    }
    cells.push_str("</div>");
    cells
}

/// Where queries to services went; nothing where none was translated.
fn services(html: &mut String, services: &[ServiceCounts]) {
    if services.is_empty() {
        return;
    }
    html.push_str(
        "<h2>Services</h2><table><thead><tr><th>service</th><th>backend</th><th>of</th>\
         <th class=\"n\">queries</th><th class=\"n\">share, %</th><th class=\"n\">IPVS weight</th>\
         <th class=\"n\">IPVS connections</th></tr></thead><tbody>\n",
    );
    let number = |number: Option<u64>| number.map_or_else(|| "–".to_owned(), |n| n.to_string());
    for service in services.iter().take(SERVICES) {
        let queries = service.queries();
        for backend in service.backends.iter().take(BACKENDS) {
            let ipvs = backend.ipvs;
            let remote = backend.remote.as_ref();
            let connections = ipvs.map(|ipvs| {
                ipvs.active_connections.unwrap_or(0) + ipvs.inactive_connections.unwrap_or(0)
            });
            let weight = ipvs.and_then(|ipvs| ipvs.weight);
            let share = match queries {
                0 => "–".to_owned(),
                all => format!("{:.1}", backend.queries as f64 / all as f64 * 100.0),
            };
            let _ = writeln!(
                html,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{share}</td>\
                 <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                service.service,
                backend.address,
                escape(&remote.map_or_else(String::new, |remote| remote.to_string())),
                backend.queries,
                weight.map_or_else(|| "–".to_owned(), |weight| weight.to_string()),
                number(connections),
            );
        }
    }
    html.push_str("</tbody></table>\n");
}

fn verdicts(html: &mut String, published: &Published) {
    html.push_str("<h2>Last verdicts</h2>\n");
    let shown: Vec<&Verdict> = published.verdicts().take(VERDICTS).collect();
    if shown.is_empty() {
        html.push_str("<p>No query was lost.</p>\n");
        return;
    }
    html.push_str(
        "<table><thead><tr><th>time</th><th>owner</th><th>cause</th><th>query</th><th>proof</th>\
         </tr></thead><tbody>\n",
    );
    for verdict in shown {
        let question = verdict.query.question.as_ref();
        let question = question
            .map_or_else(String::new, |question| format!("{} {} ", question.name, question.qtype));
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td class=\"{}\">{}</td><td>{}{} → {}{}</td>\
             <td class=\"w\">{}</td></tr>",
            verdict.time,
            escape(&verdict.owner.to_string()),
            if verdict.loss { "lost" } else { "ok" },
            verdict.cause,
            escape(&question),
            verdict.query.client,
            verdict.query.server,
            escape(&verdict.query.ends()),
            escape(&verdict.summary)
        );
    }
    html.push_str("</tbody></table>\n");
}

/// Text between tags.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU8, sync::Arc, time::Duration};

    use super::*;
    use crate::{
        identity::Owner,
        metrics::{Limits, Shed},
        output::testing::{clash, services, snapshot, transaction},
        serve::{Besides, Options, Shared},
        time::Timestamp,
    };

    fn shared() -> Shared {
        let options = Options {
            interval: Duration::from_secs(1),
            limits: Limits::default(),
            servers: true,
            top_names: 0,
            sample_bits: NonZeroU8::new(4),
        };
        Shared::new(options)
    }

    #[test]
    fn owners_losses_and_verdicts_are_shown() {
        let shared = shared();
        let mut published = shared.lock();
        assert!(render(&published).contains("not been read yet"));
        published.reading(&Arc::new(snapshot()));
        let html = render(&published);
        assert!(html.contains("<td>shop/cart-0</td>") && html.contains("1 conntrack-clash"));
        assert!(html.contains("everything was seen") && html.contains("No query was lost."));
        published.verdict(&clash(), true);
        assert!(render(&published).contains("the kernel dropped it"));
    }

    #[test]
    fn services_and_look_ups_are_shown() {
        let shared = shared();
        let mut published = shared.lock();
        for minute in 0..3 {
            let mut transaction = transaction();
            transaction.query.id = minute;
            transaction.time = Timestamp::from_unix_ns(u64::from(minute) * 60_000_000_000);
            transaction.query.sent = transaction.time;
            published.sampled(&transaction);
        }
        published.read_besides(Besides { services: services(), ..Besides::default() });
        published.reading(&Arc::new(snapshot()));
        let html = render(&published);
        assert!(html.contains("<td>10.244.0.2:53</td><td>pod kube-system/coredns-0"), "{html}");
        assert!(html.contains("<td class=\"n\">75.0</td>"), "the share of one backend");
        assert!(html.contains("<td class=\"n\">1.0</td>"), "names per look-up");
    }

    #[test]
    fn what_is_missing_is_said() {
        let shared = shared();
        let mut published = shared.lock();
        let mut snapshot = snapshot();
        snapshot.completeness.lost_events = 7;
        published.reading(&Arc::new(snapshot.clone()));
        let html = render(&published);
        assert!(html.contains("not seen: 7 events lost"), "{html}");
    }

    #[test]
    fn what_is_left_out_is_said() {
        let shared = shared();
        let mut published = shared.lock();
        published.reading(&Arc::new(snapshot()));
        assert!(!render(&published).contains("Left out"));
        published.shed(&[Shed::Lines, Shed::Names], 0.07, Some(0.05));
        let html = render(&published);
        assert!(html.contains("below 5.0 % of a processor (now 7.0 %): lines, names."), "{html}");
    }

    #[test]
    fn no_name_is_ever_markup() {
        let shared = shared();
        let mut published = shared.lock();
        let mut snapshot = snapshot();
        snapshot.pods[0].owner =
            Arc::new(Owner::Host { name: "<script>alert('x\")</script>&".into() });
        let mut verdict = clash();
        verdict.owner = Arc::clone(&snapshot.pods[0].owner);
        published.reading(&Arc::new(snapshot.clone()));
        published.verdict(&verdict, true);
        let html = render(&published);
        assert!(!html.contains("<script") && !html.contains("alert('"));
        assert!(html.contains("&lt;script&gt;alert(&#39;x&quot;)&lt;/script&gt;&amp;"));
    }
}
