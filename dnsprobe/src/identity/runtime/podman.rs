//! Names of Podman's containers, which only its list of all of them has.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde::Deserialize;

use super::{name, read_bounded};

/// At most one reading of the list in this time.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// The most that is read of it: some thousands of containers.
const LIST_BYTES: u64 = 4 << 20;

/// When the list was last read.
#[derive(Debug, Default)]
pub(super) struct Names {
    read_at: Option<Instant>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
}

impl Names {
    /// The name of a container; `None` when the list does not have it, or was
    /// read a moment ago.
    pub(super) fn name(&mut self, state: &Path, id: &str, now: Instant) -> Option<String> {
        if self.read_at.is_some_and(|at| now.duration_since(at) < READ_INTERVAL) {
            return None;
        }
        let list = state.join("containers/storage/overlay-containers/containers.json");
        let text = read_bounded(&list, LIST_BYTES).ok()?;
        self.read_at = Some(now);
        let listed: Vec<Listed> = serde_json::from_slice(&text).ok()?;
        let container = listed.into_iter().find(|container| container.id == id)?;
        name(container.names?.first()?)
    }
}
