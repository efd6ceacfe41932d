//! One owner: its counts, its heat map, its servers, and its latest losses with
//! their proof.

use std::{collections::BTreeMap, fmt::Display};

use ratatui::text::Line;

use super::View;
use crate::{
    dns::rcode_name,
    engine::Verdict,
    identity::Owner,
    output::text::{clean, label, millis, question, wrap},
    stats::{Counts, PodCounts},
};

impl View {
    /// Everything that is known of the selected owner.
    pub(super) fn pod(&self, width: usize) -> Vec<Line<'static>> {
        let Some(subject) = &self.selected else { return Vec::new() };
        let mut lines = self.heading(&label(&subject.0, subject.1), width);
        if let Owner::Pod { uid, .. } = &*subject.0 {
            lines.extend(plain(&format!("pod UID {}", clean(uid)), width));
        }
        let rows = self.shown.iter().flat_map(|snapshot| &snapshot.pods);
        let row = rows.into_iter().find(|row| (&row.owner, &row.role) == (&subject.0, &subject.1));
        match row {
            Some(row) => lines.extend(self.counts(row, width)),
            None => lines.extend(plain("no longer counted: it asked nothing for a while", width)),
        }
        lines.push(Line::default());
        lines.extend(self.heading("ANSWERS BY LATENCY, ONE COLUMN PER WINDOW", width));
        lines.extend(self.history.heat_map(subject, width, self.palette));
        if let Some(row) = row {
            lines.push(Line::default());
            lines.extend(self.heading("SERVERS (since the start)", width));
            for server in &row.servers {
                let remote = server
                    .remote
                    .as_ref()
                    .map(|remote| format!("{}  ", clean(&remote.to_string())));
                let remote = remote.unwrap_or_default();
                let text = format!("{}  {remote}{}", server.server, sums(&server.total));
                lines.extend(plain(&text, width));
            }
        }
        lines.push(Line::default());
        lines.extend(self.heading("LATEST LOSSES AND NEAR MISSES", width));
        let mut losses = self.losses.iter().rev().filter(|loss| loss.owner == subject.0).peekable();
        if losses.peek().is_none() {
            lines.extend(plain("none", width));
        }
        for loss in losses {
            lines.extend(self.loss(loss, width));
        }
        lines
    }

    fn heading(&self, text: &str, width: usize) -> Vec<Line<'static>> {
        let style = self.palette.heading();
        wrap(text, "", width).into_iter().map(|line| Line::styled(line, style)).collect()
    }

    fn counts(&self, row: &PodCounts, width: usize) -> Vec<Line<'static>> {
        let mut lines = plain(&format!("window  {}", sums(&row.window)), width);
        lines.extend(plain(&format!("total   {}", sums(&row.total)), width));
        let lost = pairs(&row.window.lost, &row.total.lost);
        if !lost.is_empty() {
            let text = format!("lost (window/total): {lost}");
            let lost = wrap(&text, "", width).into_iter();
            lines.extend(lost.map(|line| Line::styled(line, self.palette.loss())));
        }
        let near = pairs(&row.window.near_misses, &row.total.near_misses);
        if !near.is_empty() {
            lines.extend(plain(&format!("near misses (window/total): {near}"), width));
        }
        let rcodes = pairs(&row.window.rcodes, &row.total.rcodes);
        if rcodes.is_empty() || row.total.rcodes.keys().all(|code| *code == rcode_name(0)) {
            return lines;
        }
        lines.extend(plain(&format!("response codes (window/total): {rcodes}"), width));
        lines
    }

    fn loss(&self, loss: &Verdict, width: usize) -> Vec<Line<'static>> {
        let style = if loss.loss { self.palette.loss() } else { self.palette.warning() };
        let query = &loss.query;
        let first = format!(
            "{} {}: {} -> {}{}",
            loss.time,
            loss.cause,
            question(query),
            query.server,
            clean(&query.ends())
        );
        let mut lines: Vec<_> =
            wrap(&first, "", width).into_iter().map(|line| Line::styled(line, style)).collect();
        lines.extend(indented(&clean(&loss.summary), "  ", width));
        for proof in &loss.evidence {
            let text = format!("{} {}", proof.at, clean(&proof.fact));
            lines.extend(indented(&text, "    ", width));
        }
        if !loss.missing.is_empty() {
            let missing: Vec<_> = loss.missing.iter().map(|role| clean(role)).collect();
            let text = format!("not seen: {}", missing.join(", "));
            lines.extend(indented(&text, "    ", width));
        }
        lines
    }
}

fn plain(text: &str, width: usize) -> Vec<Line<'static>> {
    indented(text, "", width)
}

fn indented(text: &str, indent: &str, width: usize) -> Vec<Line<'static>> {
    wrap(text, indent, width).into_iter().map(Line::from).collect()
}

fn sums(counts: &Counts) -> String {
    let mut text = format!(
        "{} queries, {} answered, {} lost, {} in flight, {} not followed",
        counts.queries, counts.answered, counts.lost_total, counts.in_flight, counts.not_followed
    );
    if let Some(latency) = &counts.latency_seconds {
        text += &format!(
            "; p50 {} ms, p95 {} ms, p99 {} ms, max {} ms",
            millis(latency.p50),
            millis(latency.p95),
            millis(latency.p99),
            millis(latency.max)
        );
    }
    text
}

fn pairs<K: Ord + Display>(window: &BTreeMap<K, u64>, total: &BTreeMap<K, u64>) -> String {
    let pair =
        |(key, count): (&K, &u64)| format!("{key} {}/{count}", window.get(key).unwrap_or(&0));
    total.iter().map(pair).collect::<Vec<_>>().join(", ")
}
