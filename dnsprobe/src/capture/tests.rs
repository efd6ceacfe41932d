//! Packets and decisions in, files out.

use std::{fs, path::PathBuf, time::Duration};

use dnsprobe_common::{capture::Point, flow::Role};

use super::{
    About, Decision, DropSite, Files, Held, Interface, Limits, Release, Rotation, Seen, Wanted,
    WriteError, comment, rebuild,
    testing::{ANSWER, CLIENT, SERVER, address, at, query_packet, seen},
};
use crate::{
    engine::{Transaction, Verdict},
    output::testing::{cart, clash, transaction},
};

const LIMITS: Limits = Limits { lost_after: Duration::from_secs(5), bytes: 1 << 20 };

/// A transaction of the client and the server of the packets here.
fn answered(sent_ms: u64, end_ms: u64, wanted: bool) -> Decision {
    let mut transaction = Transaction { time: at(end_ms), ..transaction() };
    transaction.query.client = address(CLIENT);
    transaction.query.server = address(SERVER);
    transaction.query.id = 0x1234;
    transaction.query.sent = at(sent_ms);
    Decision::answered(&transaction, wanted)
}

fn lost(sent_ms: u64, now_ms: u64, wanted: bool) -> Decision {
    let mut verdict: Verdict = clash();
    verdict.query.client = address(CLIENT);
    verdict.query.server = address(SERVER);
    verdict.query.id = 0x1234;
    verdict.query.sent = at(sent_ms);
    Decision::verdict(&verdict, wanted, at(now_ms).unix_ns())
}

/// What leaves at a moment: times and verdicts.
fn released(held: &mut Held, now_ms: u64, all: bool) -> Vec<(u64, String)> {
    let mut released = Vec::new();
    held.release(at(now_ms).unix_ns(), all, &mut |release| {
        let end = release.own.map_or_else(|| "-".to_owned(), |own| own.end.clone());
        let word = end.split([' ', ',']).next().unwrap_or_default().to_owned();
        released.push((release.seen.time.unix_ns() / 1_000_000, word));
    });
    released
}

fn query_at(ms: u64) -> Seen {
    seen(Point::Sent, &query_packet(), ms)
}

#[test]
fn packets_leave_in_order_once_the_first_is_decided() {
    let mut held = Held::new(Wanted::All, LIMITS);
    held.packet(query_at(100), false);
    held.packet(seen(Point::Queued, ANSWER, 130), false);
    // Another processor handed this one over late.
    held.packet(seen(Point::Queued, ANSWER, 120), false);
    assert_eq!(released(&mut held, 200, false), []);
    held.decided(answered(100, 125, true));
    let told = |ms, end: &str| (ms, end.to_owned());
    let expected = [told(100, "answered"), told(120, "answered"), told(130, "answered")];
    assert_eq!(released(&mut held, 200, false), expected);
}

#[test]
fn a_packet_that_nobody_follows_leaves_when_it_would_be_lost() {
    let mut held = Held::new(Wanted::All, LIMITS);
    held.packet(query_at(100), false);
    assert_eq!(released(&mut held, 6_000, false), []);
    assert_eq!(released(&mut held, 7_200, false), [(100, "-".to_owned())]);
}

#[test]
fn a_packet_may_come_after_its_transaction() {
    let mut held = Held::new(Wanted::All, LIMITS);
    held.decided(answered(100, 125, true));
    held.packet(query_at(100), false);
    assert_eq!(released(&mut held, 200, false), [(100, "answered".to_owned())]);
}

#[test]
fn of_two_queries_with_one_id_the_later_one_has_the_later_packets() {
    let mut held = Held::new(Wanted::All, LIMITS);
    held.packet(query_at(100), false);
    held.packet(query_at(1_000), false);
    held.decided(lost(100, 7_000, true));
    held.decided(answered(1_000, 1_020, true));
    let told = [(100, "lost".to_owned()), (1_000, "answered".to_owned())];
    assert_eq!(released(&mut held, 7_000, true), told);
}

#[test]
fn of_wanted_transactions_the_other_end_leaves_too() {
    let mut held = Held::new(Wanted::Transactions, LIMITS);
    held.packet(query_at(100), false);
    held.packet(seen(Point::Sent, ANSWER, 110), false);
    held.packet(query_at(20_000), true);
    held.packet(query_at(30_000), false);
    held.decided(lost(100, 7_000, true));
    let mut ends = Vec::new();
    held.release(at(40_000).unix_ns(), true, &mut |release: Release| {
        let others = release.others.iter().map(|other| other.role).collect::<Vec<_>>();
        ends.push((release.seen.packet.role(), release.own.is_some(), others));
    });
    assert_eq!(
        ends,
        [
            (Role::Client, true, vec![]),
            (Role::Server, false, vec![Role::Client]),
            // Known to no transaction, and wanted all the same.
            (Role::Client, false, vec![]),
        ]
    );
}

#[test]
fn around_a_wanted_transaction_everything_leaves() {
    let around = Wanted::Around { before: Duration::from_secs(2), after: Duration::from_secs(1) };
    let mut held = Held::new(around, LIMITS);
    for ms in [1_000, 8_100, 10_000, 15_500, 17_900, 18_200] {
        held.packet(query_at(ms), false);
    }
    held.decided(lost(10_000, 17_000, true));
    let times: Vec<u64> = released(&mut held, 40_000, false).iter().map(|(ms, _)| *ms).collect();
    assert_eq!(times, [8_100, 10_000, 15_500, 17_900]);
}

#[test]
fn without_room_what_is_decided_leaves_first_and_memory_stays_bounded() {
    let memory = query_at(0).packet.memory();
    let limits = Limits { bytes: 10 * memory, ..LIMITS };
    let mut held = Held::new(Wanted::All, limits);
    held.packet(query_at(100), false);
    for ms in 0..9 {
        held.packet(seen(Point::Sent, &query_packet(), 20_000 + ms), false);
    }
    held.decided(answered(20_000, 20_010, true));
    held.packet(query_at(20_011), false);
    let left = released(&mut held, 6_000, false);
    assert!(!left.is_empty() && left.iter().all(|(_, end)| end == "answered"), "{left:?}");
    assert_eq!(held.early(), 0);
    // None of these is known to anybody.
    for ms in 0..100 {
        held.packet(query_at(30_000 + ms), false);
    }
    assert!(released(&mut held, 6_000, false).len() > 80);
    assert!(held.early() > 80);
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dnsprobe-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap().map(|it| it.unwrap().file_name());
        let mut names: Vec<String> = names.map(|it| it.into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn about() -> About {
    About { os: "Linux".into(), comments: Vec::new(), snap_bytes: 2_048 }
}

fn release(ms: u64) -> Release {
    let mut seen = query_at(ms);
    seen.packet.interface = Some(Interface { index: 2, netns: 7, name: "eth0".into() });
    Release { seen, own: None, others: Vec::new() }
}

#[test]
fn a_full_file_is_followed_by_the_next_and_a_round_ends_at_the_first() {
    let directory = Directory::new("capture-rotation");
    let rotation = Rotation { bytes: Some(1_000), files: Some(3) };
    let mut files = Files::create(&directory.0.join("x"), rotation, about()).unwrap();
    for ms in 0..40 {
        files.packet(&release(ms), 0).unwrap();
    }
    files.finish(5, at(50)).unwrap();
    assert!(files.count() > 3);
    assert_eq!(
        (files.packets(), directory.names()),
        (40, vec!["x0".into(), "x1".into(), "x2".into()])
    );
    for name in directory.names() {
        let bytes = fs::read(directory.0.join(name)).unwrap();
        assert!(bytes.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]));
        assert!((600..2_500).contains(&bytes.len()), "{}", bytes.len());
    }
}

#[test]
fn nothing_is_overwritten() {
    let directory = Directory::new("capture-existing");
    let path = directory.0.join("x");
    fs::write(&path, "mine").unwrap();
    let error = Files::create(&path, Rotation::default(), about()).err().unwrap();
    assert!(error.hint().is_some_and(|hint| hint.contains("overwrites no file")));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    let error = Files::create(&directory.0.join("no/x"), Rotation::default(), about());
    assert!(matches!(error, Err(WriteError::Create { .. })));
}

#[test]
fn what_is_flushed_is_in_the_file_and_only_the_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = Directory::new("capture-flush");
    let path = directory.0.join("x");
    let mut files = Files::create(&path, Rotation::default(), about()).unwrap();
    let empty = fs::metadata(&path).unwrap().len();
    files.packet(&release(1), 0).unwrap();
    files.flush().unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert!(metadata.len() > empty + 100);
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_dropped_packet_says_why_where_and_whose_it_was() {
    let mut seen = seen(Point::Dropped, &query_packet(), 100);
    seen.packet.drop = Some(DropSite {
        reason: Some("NETFILTER_DROP".into()),
        location: "nf_hook_slow+0xa5".into(),
        callers: vec!["ip_forward+0x1".into(), "ip_rcv+0x2\u{1b}[31m".into()],
    });
    seen.packet.interface = Some(Interface { index: 2, netns: 7, name: "veth0".into() });
    let decision = lost(100, 7_000, true);
    let rebuilt = rebuild::rebuild(&seen.packet);
    let comments = comment::comments(&seen, &rebuilt, Some(&decision), &[]);
    let expected = [
        format!("owner: {}", cart()),
        "process: dnsq[123]".to_owned(),
        "direction: query, dropped".to_owned(),
        "dns: 4660 www.example.org. A".to_owned(),
        "verdict: lost, conntrack-clash: the kernel dropped it".to_owned(),
        "dropped: NETFILTER_DROP, at nf_hook_slow+0xa5".to_owned(),
        "stack: ip_forward+0x1 < ip_rcv+0x2\\u{1b}[31m".to_owned(),
        "seen: where it is dropped, on CPU 0, on interface veth0 (2) of network namespace 7"
            .to_owned(),
        "UDP checksum: left to the device, not yet complete here".to_owned(),
    ];
    assert_eq!(comments, expected);
}

#[test]
fn a_cut_and_completed_packet_says_so() {
    let mut seen = seen(Point::Sent, &query_packet(), 100);
    seen.packet.len += 7;
    let rebuilt = rebuild::rebuild(&seen.packet);
    let comments = comment::comments(&seen, &rebuilt, None, &[]);
    let has = |text: &str| comments.iter().any(|comment| comment.contains(text));
    assert!(has("filled in by dnsprobe: total length"), "{comments:?}");
    assert!(has("cut: the last 7 bytes were not captured"));
    assert!(has("owner: not known") && has("verdict: none"));
}
