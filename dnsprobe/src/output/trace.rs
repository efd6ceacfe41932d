//! The lines of `trace`: one per answered query, one per verdict.

use dnsprobe_common::flow::Role;

use super::{
    Terminal,
    terminal::Colour,
    text::{clean, completeness, label, millis, process, question},
};
use crate::{
    dns::rcode_name,
    engine::{Parts, Query, Retry, Transaction, Verdict},
    identity::Owner,
    stats::Snapshot,
    time::Timestamp,
};

/// What the fields of a line are, in their order.
pub const HEADING: &str =
    "TIME OWNER PROCESS SERVER NAME TYPE RESULT LATENCY (PARTS) (WHO THE SERVER IS)";

/// The line of an answered query.
#[must_use]
pub fn transaction(transaction: &Transaction, terminal: &Terminal) -> String {
    let rcode = transaction.rcode.map_or("?".into(), rcode_name);
    let text = format!(
        "{} {rcode} {} ms{}{}",
        start(transaction.time, &transaction.owner, transaction.role, &transaction.query),
        millis(transaction.latency_seconds),
        parts(&transaction.parts),
        ends(transaction.role, &transaction.query)
    );
    match transaction.rcode {
        Some(0) => text,
        _ => terminal.paint(Colour::Warning, &text),
    }
}

/// The line of a verdict.
#[must_use]
pub fn verdict(verdict: &Verdict, terminal: &Terminal) -> String {
    let (colour, word) =
        if verdict.loss { (Colour::Loss, "LOST") } else { (Colour::Warning, "NEAR MISS") };
    let text = format!(
        "{} {word} {}: {}{}",
        start(verdict.time, &verdict.owner, Role::Client, &verdict.query),
        verdict.cause,
        clean(&verdict.summary),
        ends(Role::Client, &verdict.query)
    );
    terminal.paint(colour, &text)
}

/// The line of a look-up that needed more than one query.
#[must_use]
pub fn retry(retry: &Retry, terminal: &Terminal) -> String {
    let text = format!(
        "{} LOOK-UP {:.3} s: query {} of {} was lost to {}, query {}{} was answered",
        start(retry.time, &retry.owner, Role::Client, &retry.query),
        retry.lookup_seconds,
        retry.lost.query.id,
        retry.lost.query.sent,
        retry.lost.cause,
        retry.query.id,
        if retry.same_socket { " of the same socket" } else { " of another socket" },
    );
    terminal.paint(Colour::Warning, &text)
}

/// Why nothing was printed, for the end of a run without a line. `filtered`:
/// a filter was in force.
#[must_use]
pub fn nothing(snapshot: &Snapshot, filtered: bool) -> String {
    let queries: u64 = snapshot.pods.iter().map(|pod| pod.total.queries).sum();
    let why = match (queries, filtered) {
        (0, _) => "no DNS query was seen".to_owned(),
        (_, true) => format!("{queries} queries were seen, none passed the filters"),
        (_, false) => format!("{queries} queries were seen, none was answered or decided yet"),
    };
    format!(
        "nothing to show: {why} in {:.1} s; {}",
        snapshot.since_seconds,
        completeness(&snapshot.completeness)
    )
}

/// How much was seen, for the end of a run whose lines are all data.
#[must_use]
pub fn seen(snapshot: &Snapshot) -> String {
    completeness(&snapshot.completeness)
}

/// Why the log of the servers here has no line.
#[must_use]
pub fn no_server(snapshot: &Snapshot, filtered: bool) -> String {
    let servers = snapshot.pods.iter().filter(|pod| pod.role == Role::Server);
    let answered: u64 = servers.map(|pod| pod.total.answered).sum();
    let why = match (answered, filtered) {
        (0, _) => "no DNS server on this node answered a query".to_owned(),
        (_, true) => format!("servers here answered {answered} queries, none passed the filters"),
        (_, false) => format!("servers here answered {answered} queries, whose records were lost"),
    };
    format!("no line: {why} in {:.1} s; {}", snapshot.since_seconds, seen(snapshot))
}

fn start(time: Timestamp, owner: &Owner, role: Role, query: &Query) -> String {
    format!("{time} {} {} {} {}", label(owner, role), process(query), query.server, question(query))
}

/// Who is at the other end, as far as that is proven. Behind everything else, so
/// that the fields before it can be told apart by their blanks.
fn ends(role: Role, query: &Query) -> String {
    let text = match role {
        Role::Client => query.ends(),
        Role::Server => {
            query.remote.as_ref().map_or_else(String::new, |client| format!(" (asked by {client})"))
        }
    };
    clean(&text).into_owned()
}

/// The parts of a latency that were seen, in brackets.
fn parts(parts: &Parts) -> String {
    let named = match parts {
        Parts::Client { answer_queued_seconds, read_seconds } => {
            [("answer queued", answer_queued_seconds), ("read", read_seconds)]
        }
        Parts::Server { query_read_seconds, answered_seconds } => {
            [("query read", query_read_seconds), ("answered", answered_seconds)]
        }
    };
    let seen: Vec<String> = named
        .iter()
        .filter_map(|(name, seconds)| seconds.map(|s| format!("{name} {} ms", millis(s))))
        .collect();
    if seen.is_empty() { String::new() } else { format!(" ({})", seen.join(" + ")) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::LostQuery;
    use crate::identity::{Backend, RemoteKind};
    use crate::output::testing::{clash, empty_snapshot, remote, snapshot, transaction as example};

    #[test]
    fn an_answered_query_is_one_line_with_its_parts() {
        assert_eq!(
            transaction(&example(), &Terminal::PLAIN),
            "1970-01-01T00:00:10.000000Z shop/cart-0 dnsq[123] 10.96.0.10:53 race.test.svc. AAAA \
             NOERROR 20.10 ms (answer queued 20.00 ms + read 0.100 ms)"
        );
    }

    #[test]
    fn what_is_unknown_is_a_question_mark_and_server_ends_say_so() {
        let mut unknown = example();
        unknown.role = Role::Server;
        unknown.query.question = None;
        unknown.query.command = None;
        unknown.query.pid = None;
        unknown.rcode = None;
        unknown.parts = Parts::Server { query_read_seconds: None, answered_seconds: Some(0.25) };
        assert_eq!(
            transaction(&unknown, &Terminal::PLAIN),
            "1970-01-01T00:00:10.000000Z shop/cart-0 (server) ? 10.96.0.10:53 ? ? ? 20.10 ms \
             (answered 250.0 ms)"
        );
    }

    #[test]
    fn the_other_end_is_named_behind_everything_else() {
        let mut known = example();
        known.query.remote = Some(Arc::new(remote(RemoteKind::Service, "kube-dns")));
        known.query.backend = Some(Backend {
            address: "10.244.0.2:53".parse().unwrap(),
            remote: Some(Arc::new(remote(RemoteKind::Pod, "coredns-0"))),
        });
        let line = transaction(&known, &Terminal::PLAIN);
        assert!(
            line.ends_with(
                " ms) (service kube-system/kube-dns, sent on to 10.244.0.2:53, pod \
                 kube-system/coredns-0)"
            ),
            "{line}"
        );
        known.role = Role::Server;
        let line = transaction(&known, &Terminal::PLAIN);
        assert!(line.ends_with(" (asked by service kube-system/kube-dns)"), "{line}");
    }

    #[test]
    fn a_verdict_is_one_line_whatever_is_in_it() {
        let mut lost = clash();
        lost.query.command = Some("evil\x1b[2J\n".to_owned());
        lost.summary.push_str("\r\n");
        assert_eq!(
            verdict(&lost, &Terminal::PLAIN),
            r"1970-01-01T00:00:11.000000Z shop/cart-0 evil\u{1b}[2J\u{a}[123] 10.96.0.10:53 race.test.svc. AAAA LOST conntrack-clash: the kernel dropped it\u{d}\u{a}"
        );
        lost.loss = false;
        let colour = Terminal { colour: true, ..Terminal::PLAIN };
        let line = verdict(&lost, &colour);
        assert!(line.starts_with("\x1b[33m") && line.contains(" NEAR MISS "), "{line}");
        assert_eq!(line.matches('\x1b').count(), 2);
    }

    #[test]
    fn a_lookup_that_took_two_queries_says_what_became_of_the_first() {
        let (answered, lost) = (example(), clash());
        let linked = Retry {
            time: answered.time,
            owner: answered.owner.clone(),
            query: answered.query.clone(),
            lost: LostQuery { cause: lost.cause, query: lost.query.clone() },
            same_socket: true,
            lookup_seconds: 5.003,
        };
        let line = retry(&linked, &Terminal::PLAIN);
        assert!(
            line.contains("race.test.svc. AAAA LOOK-UP 5.003 s: query ")
                && line.contains(" was lost to conntrack-clash, query ")
                && line.ends_with(" of the same socket was answered"),
            "{line}"
        );
    }

    #[test]
    fn a_log_without_lines_says_why() {
        assert_eq!(
            no_server(&empty_snapshot(), true),
            "no line: no DNS server on this node answered a query in 12.0 s; everything \
             attached, 0 events lost"
        );
        let mut busy = snapshot();
        busy.pods[1].total.answered = 4;
        assert!(no_server(&busy, true).contains("answered 4 queries, none passed the filters"));
        assert!(no_server(&busy, false).contains("answered 4 queries, whose records were lost"));
    }

    #[test]
    fn silence_says_why() {
        assert_eq!(
            nothing(&empty_snapshot(), true),
            "nothing to show: no DNS query was seen in 12.0 s; everything attached, 0 events lost"
        );
        assert_eq!(
            nothing(&snapshot(), true),
            "nothing to show: 10 queries were seen, none passed the filters in 12.0 s; \
             everything attached, 0 events lost"
        );
    }
}
