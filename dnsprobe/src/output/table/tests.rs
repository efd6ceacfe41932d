//! The table as it is printed.

use super::*;
use crate::{
    output::testing::{clash, empty_snapshot, near_miss, snapshot},
    stats::Missing,
};

fn top() -> Top {
    Top::new("node-1", vec![53])
}

#[test]
fn a_wide_table_has_the_numbers_beside_the_owner() {
    let mut view = top();
    view.verdict(&near_miss());
    view.verdict(&clash());
    let expected = "\
dnsprobe top  1970-01-01T00:00:12.000000Z  node-1  window 1.0 s, total 12.0 s

OWNER                 SPAN    Q/s QUERIES ANSWERED IN FLIGHT  LOST P50 ms P95 ms P99 ms MAX ms
shop/cart-0         window    6.0       6        6         0     0  20.10  250.0  0.082   5004
                     total   10.0      10        9         0     1  20.10  250.0  0.082   5004
  10.96.0.10:53 service kube-system/kube-dns
                     total   10.0      10        9         0     1  20.10  250.0  0.082   5004
  10.96.0.11:53      total   10.0      10        9         0     1  20.10  250.0  0.082   5004
  lost conntrack-clash 0/1; near misses conntrack-clash-resolved 0/2; rcodes NXDOMAIN 0/1 (window/total)
shop/dns-0 (server) window    0.0       0        0         0     0      -      -      -      -
                     total    0.0       0        0         0     0      -      -      -      -

LATEST VERDICTS
1970-01-01T00:00:11.000000Z conntrack-clash shop/cart-0: race.test.svc. AAAA -> 10.96.0.10:53
    the kernel dropped it
1970-01-01T00:00:11.000000Z conntrack-clash-resolved shop/cart-0: race.test.svc. AAAA -> 10.96.0.10:53
    the kernel merged the entries
everything attached, 0 events lost
";
    assert_eq!(view.frame(&snapshot(), &Terminal::PLAIN), expected);
    // The next table is appended behind an empty line.
    assert_eq!(view.frame(&snapshot(), &Terminal::PLAIN), format!("\n{expected}"));
}

#[test]
fn a_narrow_table_gives_each_owner_a_line_of_its_own() {
    let narrow = Terminal { width: 80, ..Terminal::PLAIN };
    let text = top().frame(&snapshot(), &narrow);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(
        text,
        "\
dnsprobe top  1970-01-01T00:00:12.000000Z  node-1  window 1.0 s, total 12.0 s

OWNER   SPAN    Q/s QUERIES ANSWERED IN FLIGHT  LOST P50 ms P95 ms P99 ms MAX ms
shop/cart-0
      window    6.0       6        6         0     0  20.10  250.0  0.082   5004
       total   10.0      10        9         0     1  20.10  250.0  0.082   5004
  10.96.0.10:53 service kube-system/kube-dns
       total   10.0      10        9         0     1  20.10  250.0  0.082   5004
  10.96.0.11:53
       total   10.0      10        9         0     1  20.10  250.0  0.082   5004
  lost conntrack-clash 0/1; near misses conntrack-clash-resolved 0/2; rcodes
  NXDOMAIN 0/1 (window/total)
shop/dns-0 (server)
      window    0.0       0        0         0     0      -      -      -      -
       total    0.0       0        0         0     0      -      -      -      -

everything attached, 0 events lost
"
    );
}

#[test]
fn an_empty_table_says_why() {
    let mut snapshot = empty_snapshot();
    let wide = Terminal { width: 200, ..Terminal::PLAIN };
    let text = top().frame(&snapshot, &wide);
    assert!(
        text.contains(
            "\nNo DNS query to or from port 53 was seen on this node in the 12.0 s since the \
             start. Everything is attached, so there was none.\n"
        ),
        "{text}"
    );
    snapshot
        .completeness
        .missing
        .push(Missing { role: "send".into(), reason: "no kprobes".into() });
    let text = Top::new("n", vec![53, 5353]).frame(&snapshot, &wide);
    assert!(text.contains("port 53, 5353 was seen"), "{text}");
    assert!(text.contains("not everything can be seen (below)."), "{text}");
    assert!(text.ends_with("\ncould not see: send (`dnsprobe doctor` says why)\n"), "{text}");
}

#[test]
fn a_terminal_is_drawn_over_and_never_overfilled() {
    let screen = Terminal { live: true, colour: true, width: 100, height: 10 };
    let mut view = top();
    view.verdict(&clash());
    let first = view.frame(&snapshot(), &screen);
    assert!(first.starts_with("\x1b[2J\x1b[H"), "{first:?}");
    assert!(first.ends_with("\x1b[K\n\x1b[J"), "{first:?}");
    assert!(first.lines().count() <= 10, "{first}");
    assert!(first.contains("... more on a higher terminal"), "{first}");
    assert!(view.frame(&snapshot(), &screen).starts_with("\x1b[H"));
    let last = view.last_frame(&snapshot(), &screen);
    assert!(!last.contains("... more") && last.contains("shop/dns-0"), "{last}");
    assert!(last.contains("\x1b[31m"), "{last}");
}

#[test]
fn only_the_latest_verdicts_are_shown_newest_first() {
    let mut view = top();
    for id in 0..20 {
        let mut verdict = clash();
        verdict.summary = format!("proof {id}");
        view.verdict(&verdict);
    }
    let text = view.frame(&snapshot(), &Terminal::PLAIN);
    let shown: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("    proof ")).collect();
    assert_eq!(shown, ["19", "18", "17", "16", "15"]);
}

#[test]
fn hostile_text_cannot_break_the_table() {
    let mut verdict = clash();
    verdict.summary = "a\n\x1b[2J".to_owned();
    let mut view = Top::new("n\x1b[2J", vec![53]);
    view.verdict(&verdict);
    let text = view.frame(&snapshot(), &Terminal::PLAIN);
    assert!(!text.contains('\x1b'), "{text}");
    assert!(text.contains(r"    a\u{a}\u{1b}[2J"), "{text}");
}
