use proptest::prelude::*;
use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::{
    output::testing::{clash, empty_snapshot, near_miss, pod, snapshot},
    stats::Missing,
};

fn view() -> View {
    let mut view = View::new("node-1", &[53], false);
    view.snapshot(&snapshot());
    view.verdict(&clash());
    view
}

/// The picture as lines, blanks at their ends removed.
fn picture(view: &mut View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view.draw(frame.area(), frame.buffer_mut())).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

fn has_colour(view: &mut View) -> bool {
    let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
    view.draw(buffer.area, &mut buffer);
    buffer.content.iter().any(|cell| cell.fg != ratatui::style::Color::Reset)
}

fn contains(lines: &[String], text: &str) -> bool {
    lines.iter().any(|line| line.contains(text))
}

fn press(view: &mut View, keys: &str) {
    for key in keys.chars() {
        assert_eq!(view.key(Key::Char(key)), Reaction::Draw);
    }
}

#[test]
fn the_table_at_80_by_24() {
    let lines = picture(&mut view(), 80, 24);
    assert!(lines[0].starts_with("dnsprobe top  node-1  1970-01-01T00:00:12.000000Z"), "{lines:?}");
    assert!(lines[1].starts_with("OWNER") && lines[1].contains("LOST    Q/s P95 ms P50 ms"));
    assert!(lines[2].starts_with("shop/cart-0") && lines[2].contains("  250.0  20.10"));
    assert!(lines[2].ends_with('▅'), "p95 of 250 ms: {lines:?}");
    assert!(lines[3].starts_with("shop/dns-0 (server)"));
    assert!(lines[22].starts_with("q quit  ? help  / filter  s sort: lost"));
    assert_eq!(lines[23], "everything attached, 0 events lost");
}

#[test]
fn what_could_not_be_seen_is_in_every_panel_and_size_and_while_paused() {
    let mut view = view();
    press(&mut view, "p");
    let mut blind = snapshot();
    blind.completeness.missing.push(Missing { role: "clash".into(), reason: "none".into() });
    blind.completeness.lost_events = 7;
    view.snapshot(&blind);
    for panel in [Panel::Table, Panel::Pod, Panel::Help] {
        view.panel = panel;
        for (width, height) in [(80, 24), (40, 5), (20, 2), (20, 1), (200, 60)] {
            let lines = picture(&mut view, width, height);
            let seen = lines.join(" ");
            assert!(seen.contains("could not see:"), "{panel:?} {width}x{height}: {lines:?}");
        }
    }
}

#[test]
fn enter_opens_an_owner_with_servers_causes_and_proof() {
    let mut view = view();
    view.key(Key::Enter);
    let lines = picture(&mut view, 120, 50);
    for text in [
        "shop/cart-0",
        "window  6 queries, 6 answered, 0 lost",
        "lost (window/total): conntrack-clash 0/1",
        "< 10 ms",
        "10.96.0.10:53  service kube-system/kube-dns  10 queries",
        "conntrack-clash: race.test.svc. AAAA -> 10.96.0.10:53",
        "__nf_conntrack_confirm returned NF_DROP",
        "Esc back",
    ] {
        assert!(contains(&lines, text), "{text}: {lines:#?}");
    }
    view.key(Key::Escape);
    assert!(contains(&picture(&mut view, 120, 50), "OWNER"));
}

#[test]
fn a_long_panel_is_scrolled_and_never_beyond_its_end() {
    let mut view = view();
    (0..20).for_each(|_| view.verdict(&near_miss()));
    view.key(Key::Enter);
    view.key(Key::End);
    let lines = picture(&mut view, 80, 24);
    assert!(contains(&lines, "LATEST LOSSES") || contains(&lines, "NF_DROP"), "{lines:#?}");
    assert!(!lines[21].is_empty(), "no blank end: {lines:#?}");
    view.key(Key::Home);
    assert!(contains(&picture(&mut view, 80, 24), "shop/cart-0"));
}

#[test]
fn a_filter_is_typed_kept_and_cleared() {
    let mut view = view();
    press(&mut view, "/dns-0");
    assert!(contains(&picture(&mut view, 80, 24), "filter: dns-0_"));
    view.key(Key::Enter);
    let lines = picture(&mut view, 80, 24);
    assert!(contains(&lines, "shop/dns-0") && !contains(&lines, "shop/cart-0"), "{lines:?}");
    press(&mut view, "/zzz");
    view.key(Key::Enter);
    assert!(contains(&picture(&mut view, 80, 24), "None of 2 rows has \"dns-0zzz\""));
    view.key(Key::Escape);
    assert!(contains(&picture(&mut view, 80, 24), "shop/cart-0"));
    press(&mut view, "/q");
    assert_eq!(view.key(Key::Backspace), Reaction::Draw);
    view.key(Key::Escape);
    assert_eq!(view.key(Key::Char('q')), Reaction::Quit);
}

#[test]
fn rows_are_filtered_by_server_and_cause() {
    let mut view = view();
    for filter in ["10.96.0.11", "CLASH"] {
        view.filter = filter.to_owned();
        let lines = picture(&mut view, 80, 24);
        assert!(contains(&lines, "shop/cart-0") && !contains(&lines, "dns-0"), "{lines:?}");
    }
}

#[test]
fn rows_are_sorted_by_each_key_in_both_directions() {
    let mut view = view();
    let first = |view: &mut View| picture(view, 80, 24)[2].clone();
    assert!(first(&mut view).starts_with("shop/cart-0"));
    press(&mut view, "r");
    assert!(first(&mut view).starts_with("shop/dns-0"));
    press(&mut view, "S");
    assert_eq!((view.sort, view.reversed), (Sort::Name, true));
    assert!(first(&mut view).starts_with("shop/dns-0"));
    press(&mut view, "r");
    assert!(first(&mut view).starts_with("shop/cart-0"));
    press(&mut view, "s");
    assert_eq!(view.sort, Sort::Lost);
    for _ in 0..5 {
        press(&mut view, "s");
        assert!(first(&mut view).starts_with("shop/cart-0"));
    }
}

#[test]
fn the_selected_row_stays_selected_and_on_the_screen() {
    let mut view = View::new("node-1", &[53], false);
    let mut many = snapshot();
    let row = many.pods.remove(1);
    many.pods =
        (0..100).map(|n| PodCounts { owner: pod(&format!("p-{n:02}")), ..row.clone() }).collect();
    view.snapshot(&many);
    view.key(Key::End);
    assert!(contains(&picture(&mut view, 80, 24), "shop/p-99"));
    assert!(!contains(&picture(&mut view, 80, 24), "shop/p-00"));
    press(&mut view, "r");
    many.pods.reverse();
    view.snapshot(&many);
    view.key(Key::Enter);
    let selected = view.selected.as_ref().map(|(owner, role)| label(owner, *role));
    assert_eq!(selected.as_deref(), Some("shop/p-99 (server)"));
}

#[test]
fn a_paused_picture_stands_still() {
    let mut view = view();
    press(&mut view, " ");
    let mut later = empty_snapshot();
    later.since_seconds = 99.0;
    view.snapshot(&later);
    let lines = picture(&mut view, 100, 24);
    assert!(contains(&lines, "PAUSED") && contains(&lines, "shop/cart-0"), "{lines:?}");
    press(&mut view, "p");
    let lines = picture(&mut view, 100, 24);
    assert!(!contains(&lines, "PAUSED") && contains(&lines, "total 99.0 s"), "{lines:?}");
    assert!(contains(&lines, "No DNS query to or from port 53 was seen"), "{lines:?}");
}

#[test]
fn before_the_first_numbers_it_says_so() {
    let mut view = View::new("node-1", &[53], false);
    let lines = picture(&mut view, 80, 24);
    assert!(contains(&lines, "waiting for the first numbers"));
    assert!(contains(&lines, "nothing counted yet"));
    assert_eq!(view.key(Key::Enter), Reaction::Draw);
    assert_eq!(view.panel, Panel::Table);
}

#[test]
fn help_lists_keys_and_signs() {
    let mut view = view();
    press(&mut view, "?");
    let lines = picture(&mut view, 100, 40);
    assert!(contains(&lines, "reverse the order") && contains(&lines, "a query was lost"));
}

#[test]
fn without_colour_there_is_none() {
    assert!(!has_colour(&mut view()));
    let mut coloured = view();
    coloured.palette = Palette { colour: true };
    assert!(has_colour(&mut coloured));
}

#[test]
fn a_loss_shows_in_the_heat_of_its_window() {
    let mut view = View::new("node-1", &[53], false);
    let mut lossy = snapshot();
    lossy.pods[0].window.lost_total = 1;
    view.snapshot(&lossy);
    view.snapshot(&snapshot());
    assert!(picture(&mut view, 80, 24)[2].ends_with("x▅"));
}

#[test]
fn hostile_names_change_nothing_but_their_own_text() {
    let mut view = view();
    let mut hostile = snapshot();
    hostile.pods[0].owner = pod("\x1b[2J\u{202e}\n\u{9b}evil\u{1f4a9}");
    view.snapshot(&hostile);
    press(&mut view, "/\u{202e}");
    view.filter = "evil".to_owned();
    let mut lost = clash();
    lost.owner = hostile.pods[0].owner.clone();
    lost.summary = "\x1b]0;x\x07\r\n".to_owned();
    view.verdict(&lost);
    for _ in 0..2 {
        for line in picture(&mut view, 80, 24) {
            assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
        }
        view.key(Key::Enter);
        view.key(Key::Enter);
    }
}

#[test]
fn every_size_is_drawn() {
    for width in 1..=90 {
        for height in 1..=30 {
            let mut view = view();
            for panel in [Panel::Table, Panel::Pod, Panel::Help] {
                view.move_first();
                view.panel = panel;
                assert_eq!(picture(&mut view, width, height).len(), usize::from(height));
            }
        }
    }
}

impl View {
    fn move_first(&mut self) {
        self.panel = Panel::Table;
        self.key(Key::Home);
    }
}

fn any_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        any::<char>().prop_map(Key::Char),
        "[a-zA-Z/? ]".prop_map(|text| Key::Char(text.chars().next().unwrap_or(' '))),
        Just(Key::Enter),
        Just(Key::Escape),
        Just(Key::Backspace),
        Just(Key::Up),
        Just(Key::Down),
        Just(Key::PageUp),
        Just(Key::PageDown),
        Just(Key::Home),
        Just(Key::End),
    ]
}

proptest! {
    #[test]
    fn any_keys_at_any_size_leave_a_picture(
        keys in prop::collection::vec((any_key(), 1_u16..130, 1_u16..50, any::<bool>()), 1..30)
    ) {
        let mut view = view();
        for (key, width, height, empty) in keys {
            view.key(key);
            view.snapshot(&if empty { empty_snapshot() } else { snapshot() });
            let lines = picture(&mut view, width, height);
            prop_assert!(!lines.join("").is_empty());
        }
    }
}
