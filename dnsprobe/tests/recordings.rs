//! Recordings of the lab (kernel 6.12) replay to what was found live. They are made
//! anew with `lab run --record --out DIR --scenario NAME`.

mod schema;

use std::process::{Command, Output};

use serde_json::Value;

/// Recording, and its faults in order.
const RECORDINGS: [(&str, &[(&str, u64)]); 11] = [
    ("conntrack-clash", &[("conntrack-clash", 5)]),
    ("conntrack-table-full", &[("conntrack-table-full", 15)]),
    ("ipvs-stale-backend", &[("ipvs-stale-backend", 5)]),
    ("late-answer", &[("late-answer", 5)]),
    ("no-listener", &[("no-listener", 8)]),
    ("policy-drop", &[("policy-drop", 20)]),
    ("remote-silence", &[("remote-silence", 5)]),
    (
        "socket-buffer-full",
        &[("socket-buffer-full", 70), ("slow-server-queue", 5), ("slow-client", 5)],
    ),
    ("tc-drop", &[("tc-drop", 128)]),
    ("three-causes", &[("policy-drop", 6), ("no-listener", 6), ("conntrack-clash", 5)]),
    ("upstream-servfail", &[("upstream-servfail", 4)]),
];

#[test]
fn every_recording_replays_to_the_faults_that_were_caused() {
    for (name, expected) in RECORDINGS {
        let output = replay(name, &["diagnose", "--slow-after", "250ms"]);
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        let diagnosis: Value = serde_json::from_slice(&output.stdout).unwrap();
        let faults: Vec<(&str, u64)> = diagnosis["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| finding["fault"] == true)
            .map(|finding| (finding["code"].as_str().unwrap(), finding["count"].as_u64().unwrap()))
            .collect();
        assert_eq!(faults, expected, "{name}");
    }
}

#[test]
fn every_object_is_as_the_schema_says() {
    for (name, _) in RECORDINGS {
        for view in ["top", "trace", "diagnose", "report"] {
            let output = replay(name, &[view]);
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(!text.is_empty(), "{name} {view}");
            for line in text.lines() {
                let object = serde_json::from_str(line).unwrap();
                assert_eq!(schema::problems(&object), Vec::<String>::new(), "{name} {view} {line}");
            }
        }
    }
}

/// A recording as a command sees it, in JSON.
fn replay(name: &str, view: &[&str]) -> Output {
    let file = format!("{}/../tests/recordings/{name}.rec", env!("CARGO_MANIFEST_DIR"));
    Command::new(env!("CARGO_BIN_EXE_dnsprobe"))
        .args(["replay", &file])
        .args(view)
        .args(["-o", "json"])
        .output()
        .expect("dnsprobe can be started")
}
