//! A case made by hand, as a ticket.

use std::{collections::BTreeMap, fs, process::Command};

use super::*;
use crate::{
    engine::Cause,
    findings::{Findings, Options},
    output::testing::{cart, clash, snapshot},
    record::Phase,
};

fn case() -> Case {
    let options = Options {
        slow_after: std::time::Duration::from_millis(100),
        cluster_domain: None,
        ipvs_udp_timeout: std::time::Duration::from_secs(300),
    };
    let mut findings = Findings::new(options, Box::new(|_| true));
    let scope = Scope { owner: Box::new(|_| true), causes: Vec::new(), failed_answers: true };
    let mut collected = Collector::new(scope);
    findings.verdict(&clash());
    collected.verdict(&clash());
    let file = |phase, drop: u64| NodeFile {
        path: "counters.json".to_owned(),
        phase,
        text: format!(r#"{{"conntrack":{{"drop":{drop}}}}}"#),
        cut: false,
    };
    Case {
        header: Header { node: "node-1".to_owned(), transactions: true, ..Header::default() },
        files: vec![file(Phase::Before, 3), file(Phase::After, 4)],
        damage: Damage::default(),
        diagnosis: findings.finish(&snapshot()),
        snapshot: snapshot(),
        collected,
        packets: Some(7),
    }
}

#[test]
fn the_page_says_what_who_when_why_and_what_to_do() {
    let files = case().files(&mut Redactor::new(&[], [0; 32]));
    let page = &files["ticket.md"];
    for needed in [
        "# DNS on node-1",
        "Wrong: `conntrack-clash` (1 times).",
        "## Fault: conntrack-clash",
        "**Whose:** `shop/cart-0` (1 of 1 queries)",
        "**Since when:** 1970-01-01T00:00:",
        "pattern: ",
        "**Proof:** ",
        "**What to do:** ",
        "## Ruled out",
        "| `conntrack.drop` | 3 | 4 | +1 |",
    ] {
        assert!(page.contains(needed), "{needed} is not in\n{page}");
    }
    assert!(files["timelines.txt"].contains("colliding entries:"));
    assert!(files["queries.tsv"].lines().nth(1).unwrap().ends_with("AAAA\tconntrack-clash"));
    let verdicts: Value = serde_json::from_str(&files["verdicts.json"]).unwrap();
    assert_eq!(verdicts["counts"]["conntrack-clash"], 1);
    assert!(verdicts["verdicts"][0]["evidence"][0]["tuples"]["loser"].is_object());
}

#[test]
fn a_ticket_is_narrowed_to_what_it_is_about() {
    let mut case = case();
    case.narrow(&[Code::Cause(Cause::PolicyDrop)]);
    assert!(case.diagnosis.findings.is_empty() && !case.diagnosis.fault);
}

#[test]
fn nothing_that_is_hidden_is_left_in_any_file() {
    let hide = [Redact::Names, Redact::Addresses];
    let files = case().files(&mut Redactor::new(&hide, [0; 32]));
    for (name, text) in &files {
        for secret in ["cart-0", "race", "10.96.0", "10.244.0", "node-1"] {
            assert!(!text.contains(secret), "{secret} is in {name}:\n{text}");
        }
    }
    assert!(files["ticket.md"].contains("conntrack-clash"));
    assert_eq!(cart().to_string(), "shop/cart-0");
}

#[test]
fn the_checksums_check_and_nothing_is_overwritten() {
    let directory = crate::record::scratch("ticket");
    let place = Place::new(&directory).unwrap();
    let files: BTreeMap<String, Vec<u8>> =
        [("a.txt".to_owned(), b"one".to_vec()), ("node/b.txt".to_owned(), Vec::new())].into();
    let (written, archive) = place.write(&files, 1).unwrap();
    let check = Command::new("sha256sum")
        .args(["-c", "SHA256SUMS"])
        .current_dir(&written)
        .output()
        .unwrap();
    assert!(check.status.success(), "{check:?}");
    assert!(matches!(Place::new(&directory), Err(BundleError::NotEmpty(_))));
    let unpacked = zstd::stream::decode_all(fs::File::open(archive).unwrap()).unwrap();
    let mut tar = tar::Archive::new(&unpacked[..]);
    let names: Vec<String> = tar
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["ticket/a.txt", "ticket/node/b.txt", "ticket/SHA256SUMS"]);
    fs::remove_dir_all(directory).unwrap();
}
