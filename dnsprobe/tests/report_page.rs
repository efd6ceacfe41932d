//! `dnsprobe report` of a recording of the lab, in a browser. The pictures stay in
//! `target/tmp`, to be looked at.

#![expect(clippy::unwrap_used, reason = "what fails here ends the test")]

mod browser;

use std::{collections::HashSet, fs, path::Path, process::Command};

use browser::Browser;
use serde_json::json;

/// Elements that stick out of the page to the right, unless they scroll by
/// themselves.
const OVERFLOWING: &str = "
    [...document.body.querySelectorAll('*')]
        .filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.outerHTML.slice(0, 100))";
/// Pictures without an extent.
const INVISIBLE: &str = "
    [...document.querySelectorAll('svg')]
        .filter(e => !e.closest('details'))
        .map(e => e.getBoundingClientRect())
        .filter(r => r.width < 5 || r.height < 5).length";

#[test]
fn the_page_of_a_recording_looks_right_in_a_browser() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let page = target.join("report.html");
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/recordings/three-causes.rec");
    let made = Command::new(env!("CARGO_BIN_EXE_dnsprobe"))
        .args(["report", "--from", recording, "-w"])
        .arg(&page)
        .output()
        .unwrap();
    assert_eq!(made.status.code(), Some(1), "{made:?}");

    let profile = target.join("chromium");
    let _ = fs::remove_dir_all(&profile);
    let mut browser = Browser::start(&profile);
    browser.open(&format!("file://{}", page.display()));
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")] {
        let at = format!("{width} px, {scheme}");
        browser.look(width, scheme);
        assert_eq!(browser.value(OVERFLOWING), json!([]), "{at}");
        assert_eq!(browser.value("document.documentElement.scrollWidth"), width, "{at}");
        assert_eq!(browser.value(INVISIBLE), 0, "{at}");
        let png = browser.screenshot();
        fs::write(target.join(format!("report-{width}-{scheme}.png")), &png).unwrap();
        let (size, colours, background) = picture(&png);
        assert_eq!(size.0, width, "{at}");
        assert!(size.1 > 2_000, "{at}: {size:?}");
        assert!(colours > 50, "{at}: {colours} colours");
        assert_eq!(background > 127, scheme == "light", "{at}: {background}");
    }
    // A screen reader's view: every picture has a name.
    let tree = browser.call("Accessibility.getFullAXTree", json!({}));
    let images: Vec<&str> = tree["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|node| node["role"]["value"] == "image")
        .map(|node| node["name"]["value"].as_str().unwrap_or_default())
        .collect();
    assert!(images.len() > 10 && images.iter().all(|name| !name.is_empty()), "{images:?}");
    assert!(images.iter().any(|name| name.starts_with("policy-drop: 6 lost")), "{images:?}");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

/// Width and height, the number of different colours, and how bright the first
/// point is.
fn picture(png: &[u8]) -> ((u32, u32), usize, u8) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    let points = bytes[..info.buffer_size()].chunks(info.color_type.samples());
    let colours: HashSet<&[u8]> = points.collect();
    ((info.width, info.height), colours.len(), bytes[0])
}
