//! A container's configuration as Docker keeps it, `config.v2.json`.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::{ContainerFacts, FILE_BYTES, name, oci, read_bounded};

#[derive(Deserialize)]
struct Container {
    #[serde(rename = "Name", default)]
    name: String,
    #[serde(rename = "Config", default)]
    config: Config,
}

#[derive(Default, Deserialize)]
struct Config {
    #[serde(rename = "Labels", default)]
    labels: Option<BTreeMap<String, String>>,
}

/// What it says; `None` when it is not there or not what it should be.
pub(super) fn read(file: &Path) -> Option<ContainerFacts> {
    let text = read_bounded(file, FILE_BYTES).ok()?;
    let container: Container = serde_json::from_slice(&text).ok()?;
    let facts = oci::facts(&container.config.labels.unwrap_or_default());
    if facts.pod.is_some() {
        return Some(facts);
    }
    let given = container.name.strip_prefix('/').unwrap_or(&container.name);
    Some(ContainerFacts { name: name(given), pod: None })
}
